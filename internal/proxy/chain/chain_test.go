package chain

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/weirproxy/weir/filter"
	"github.com/weirproxy/weir/filter/filtertest"
	"github.com/weirproxy/weir/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mark writes its settings into requests and responses.
func mark() filter.Definition {
	return filter.Definition{Name: "mark", Build: func(settings any, env filter.Env, next stream.Service) (stream.Service, error) {
		word, ok := settings.(string)
		if !ok {
			return nil, errors.New("no word")
		}
		return stream.ServiceFunc(func(ctx context.Context, req *stream.Request) (*stream.Response, error) {
			req.Header.Add("X-In", env.Route.Name+"/"+word)
			resp, err := next.Serve(ctx, req)
			if err == nil {
				resp.Header.Add("X-Out", word)
			}
			return resp, err
		}), nil
	}}
}

func TestBuild(t *testing.T) {
	var numbers []string
	env := func(name string, number int) filter.Env {
		numbers = append(numbers, fmt.Sprint(name, number))
		return filter.Env{Route: stream.Label{Name: "shop"}}
	}
	last := &filtertest.Next{}
	service, err := Build([]Bound{{mark(), "a"}, {mark(), "b"}}, env, last)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := service.Serve(context.Background(), filtertest.Request("GET", "http://h/"))
	if err != nil {
		t.Fatal(err)
	}
	in, out := filtertest.Lines(&last.Got[0].Header), filtertest.Lines(&resp.Header)
	if got := strings.Join(append(in, out...), "|"); got != "X-In: shop/a|X-In: shop/b|X-Out: b|X-Out: a" {
		t.Errorf("the filters run as %s", got)
	}
	if got := strings.Join(numbers, " "); got != "mark2 mark1" {
		t.Errorf("built as %s", got)
	}
}

func TestBuildOfNothing(t *testing.T) {
	last := &filtertest.Next{}
	if service, err := Build(nil, nil, last); service != stream.Service(last) || err != nil {
		t.Errorf("%v, %v, want the last service itself", service, err)
	}
}

// A filter that cannot be built never leaves the route open.
func TestBuildFails(t *testing.T) {
	env := func(string, int) filter.Env { return filter.Env{Route: stream.Label{Name: "shop"}} }
	service, err := Build([]Bound{{mark(), "a"}, {mark(), 7}}, env, &filtertest.Next{})
	if service != nil || err == nil || err.Error() != "route shop: filter mark, number 2 of the list: no word" {
		t.Errorf("%v, %v", service, err)
	}
}
