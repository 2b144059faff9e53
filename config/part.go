package config

// At is the place of a part that is not a list, by the first step of a path
// ("admin.address"); the zero Pos when it was not written.
func (d *Document) At(path string) Pos {
	part, _ := firstStep(path)
	return d.parts[part]
}
