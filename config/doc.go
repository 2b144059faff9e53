// Package config holds the words of a document: the types that people fill in,
// their units, their defaults, and where each value stood in which file.
//
// The field comments are the reference: docs/reference.md and the JSON Schema
// are made from them (make generate). A document is data: nothing here opens a
// socket, reads a certificate or knows what a filter does.
package config
