package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A file has, one behind the other: magic; the SHA-256 of all that follows; the
// length of the labels and that of the content, 8 bytes each; the labels, each
// with its length in front; the content. What was written in part, or has
// changed since, does not have that sum, or not that length.
const (
	magic      = "weircache1\n"
	headLength = len(magic) + sha256.Size + 16
	// maxLabels bounds the labels of a file: those of an entry are bounded, too.
	maxLabels = 1 << 20
)

var errBroken = errors.New("the file is not what was written")

func encodeFile(labels []string, content []byte) []byte {
	var named []byte
	for _, label := range labels {
		named = binary.AppendUvarint(named, uint64(len(label)))
		named = append(named, label...)
	}
	file := make([]byte, headLength, headLength+len(named)+len(content))
	copy(file, magic)
	binary.BigEndian.PutUint64(file[headLength-16:], uint64(len(named)))
	binary.BigEndian.PutUint64(file[headLength-8:], uint64(len(content)))
	file = append(append(file, named...), content...)
	sum := sha256.Sum256(file[len(magic)+sha256.Size:])
	copy(file[len(magic):], sum[:])
	return file
}

// decodeFile checks a whole file and returns its content, which shares its
// memory.
func decodeFile(file []byte) ([]byte, error) {
	if len(file) < headLength || string(file[:len(magic)]) != magic {
		return nil, errBroken
	}
	sum := sha256.Sum256(file[len(magic)+sha256.Size:])
	if !bytes.Equal(sum[:], file[len(magic):len(magic)+sha256.Size]) {
		return nil, errBroken
	}
	named, content, ok := fileLengths(file[:headLength], int64(len(file)))
	if !ok {
		return nil, errBroken
	}
	return file[headLength+int(named) : headLength+int(named+content)], nil
}

// fileLengths are the lengths in a head, when they make up the size of the file.
func fileLengths(head []byte, size int64) (named, content int64, ok bool) {
	n, c := binary.BigEndian.Uint64(head[headLength-16:]), binary.BigEndian.Uint64(head[headLength-8:])
	if n > maxLabels || c > uint64(size) { //nolint:gosec // the size of a file is not negative
		return 0, 0, false
	}
	named, content = int64(n), int64(c) //nolint:gosec // bounded by the line above
	return named, content, int64(headLength)+named+content == size
}

// readLabels reads the labels of a file and nothing else: at the start, all
// files are looked at.
func readLabels(path string) (labels []string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	head := make([]byte, headLength)
	if _, err := io.ReadFull(f, head); err != nil || string(head[:len(magic)]) != magic {
		return nil, 0, errBroken
	}
	named, _, ok := fileLengths(head, info.Size())
	if !ok {
		return nil, 0, errBroken
	}
	text := make([]byte, named)
	if _, err := io.ReadFull(f, text); err != nil {
		return nil, 0, errBroken
	}
	labels, err = cutLabels(text)
	return labels, info.Size(), err
}

func cutLabels(text []byte) ([]string, error) {
	var labels []string
	for len(text) > 0 {
		n, read := binary.Uvarint(text)
		if read <= 0 || n > uint64(len(text)-read) {
			return nil, errBroken
		}
		text = text[read:]
		labels, text = append(labels, string(text[:n])), text[n:]
	}
	return labels, nil
}

// writeFile writes a file so that it is there whole or not at all. It is not
// synced: after a power cut the sum tells what is left of it.
func writeFile(path string, file []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	temporary, err := os.CreateTemp(filepath.Dir(path), partPattern)
	if err != nil {
		return err
	}
	_, err = temporary.Write(file)
	if closed := temporary.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(temporary.Name(), path)
	}
	if err != nil {
		_ = os.Remove(temporary.Name())
		return fmt.Errorf("writing %d bytes to %s: %w", len(file), path, err)
	}
	return nil
}

// partPattern names files that are being written.
const partPattern = "part-*"
