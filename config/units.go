package config

import "time"

// Duration is a time in text: 250ms, 15s, 5m, 1h30m.
type Duration time.Duration

// Size is a number of bytes in text: 512, 64KiB, 10MiB, 1GiB (and KB, MB, GB
// for powers of 1,000).
type Size int64

// Secret is a reference to a value that must not be printed: a file or an
// environment variable. A plain string in its place is refused.
type Secret struct {
	// File is the path of a file, relative to the document.
	File string `yaml:"file" json:"file,omitempty"`
	// Env is the name of an environment variable.
	Env string `yaml:"env" json:"env,omitempty"`
}
