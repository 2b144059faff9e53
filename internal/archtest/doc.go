// Package archtest holds the architecture as tests: which package may import
// which (the floors of the design), one door per dependency, versions that
// security records forbid, and names that say nothing. It has no code of its
// own. When a test here fails, change the code, or the design first.
package archtest
