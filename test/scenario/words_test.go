package scenario

import (
	"fmt"
	"sync"
	"time"
)

// words put the steps of scripts and of the case in an order: one side reaches
// a word, the other awaits it.
type words struct {
	mu   sync.Mutex
	said map[string]chan struct{} // closed once the word was reached
}

func newWords() *words { return &words{said: map[string]chan struct{}{}} }

func (w *words) of(word string) chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.said[word] == nil {
		w.said[word] = make(chan struct{})
	}
	return w.said[word]
}

func (w *words) reach(word string) {
	ch := w.of(word)
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-ch:
	default:
		close(ch)
	}
}

func (w *words) await(word string) error {
	select {
	case <-w.of(word):
		return nil
	case <-time.After(patience):
		return fmt.Errorf("nobody reached %q", word)
	}
}
