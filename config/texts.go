package config

// Texts are texts that stand in a list; one alone may stand without it.
type Texts []string

func (x *Texts) fromText(text string) { *x = Texts{text} }
