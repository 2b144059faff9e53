package engine

import (
	"errors"

	"github.com/weirproxy/weir/internal/proxy/admin"
)

// explain says what would become of a request in the running generation.
func (e *Engine) explain(admin.Question) (admin.Explanation, error) {
	return admin.Explanation{}, errors.New("no generation serves yet")
}
