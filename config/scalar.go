package config

import (
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// text reads types that know their own text: Duration, Size, Rate, those of
// filters.
func (d *decoder) text(t *tree, v reflect.Value, target encoding.TextUnmarshaler, key string, r rule) bool {
	if t.kind != scalar {
		return d.fail(t, "", "%s is one value, and %s stands here", key, t.noun())
	}
	err := target.UnmarshalText([]byte(t.text))
	if own, ok := err.(*textError); ok { //nolint:errorlint // one inside another error has words around it that must not get lost
		return d.fail(t, own.fix, "%s: %s", key, own.what)
	}
	if err != nil {
		return d.fail(t, "", "%s: %s: %v", key, quote(t.text), err)
	}
	return d.bounded(t, v, key, r)
}

func (d *decoder) scalar(t *tree, v reflect.Value, key string, r rule) bool {
	if t.kind != scalar {
		return d.fail(t, "", "%s is one value, and %s stands here", key, t.noun())
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(t.text)
	case reflect.Bool:
		if !t.plain || t.text != "true" && t.text != "false" {
			return d.fail(t, "write true or false", "%s: %s is not true or false", key, quote(t.text))
		}
		v.SetBool(t.text == "true")
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Int16, reflect.Int8:
		n, err := strconv.ParseInt(t.text, 10, v.Type().Bits())
		if err != nil || !t.plain {
			return d.fail(t, "write digits only, without quotes", "%s: %s is not a whole number", key, quote(t.text))
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint64, reflect.Uint32, reflect.Uint16, reflect.Uint8:
		n, err := strconv.ParseUint(t.text, 10, v.Type().Bits())
		if err != nil || !t.plain {
			return d.fail(t, "write digits only, without quotes", "%s: %s is not a whole number", key, quote(t.text))
		}
		v.SetUint(n)
	case reflect.Float64, reflect.Float32:
		n, err := strconv.ParseFloat(t.text, 64)
		if err != nil || !t.plain || math.IsNaN(n) || math.IsInf(n, 0) {
			return d.fail(t, "write a number such as 0.2", "%s: %s is not a number", key, quote(t.text))
		}
		v.SetFloat(n)
	default:
		panic("config: a document cannot hold a " + v.Type().String())
	}
	return d.bounded(t, v, key, r)
}

// bounded applies the enum, min, max and format tags.
func (d *decoder) bounded(t *tree, v reflect.Value, key string, r rule) bool {
	if r.enum != nil && !slices.Contains(r.enum, t.text) {
		fix := Suggest(t.text, r.enum)
		if fix == "" || isJSONNumber(t.text) {
			fix = "write one of " + strings.TrimPrefix(strings.Join(r.enum, ", "), ", ")
		}
		return d.fail(t, fix, "%s: %s is not known", key, quote(t.text))
	}
	if r.format == "name" && !isName(t.text) {
		return d.fail(t, "use letters, digits and . _ - /, at most 253, the first a letter or a digit",
			"%s: %s cannot be a name", key, quote(t.text))
	}
	var n float64
	switch {
	case v.CanInt():
		n = float64(v.Int())
	case v.CanFloat():
		n = v.Float()
	default:
		return true
	}
	least, most := r.limits()
	if n < least {
		return d.fail(t, span(least, most), "%s: %s is less than %s", key, t.text, plain(least))
	}
	if n > most {
		return d.fail(t, span(least, most), "%s: %s is more than %s", key, t.text, plain(most))
	}
	return true
}

// limits of a number; without a tag it must not be negative.
func (r rule) limits() (least, most float64) {
	least, _ = strconv.ParseFloat(r.min, 64)
	most, err := strconv.ParseFloat(r.max, 64)
	if err != nil {
		most = math.MaxFloat64
	}
	return least, most
}

// span says in words what a number may be.
func span(least, most float64) string {
	if most == math.MaxFloat64 {
		return fmt.Sprintf("write at least %v", least)
	}
	return fmt.Sprintf("write a number from %s to %s", plain(least), plain(most))
}

// plain is a number as people write it: 0.9, 2147483647.
func plain(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// isName tells what may name an object: it stands in logs, metrics, paths of
// the admin pages and on command lines.
func isName(text string) bool {
	for i := 0; i < len(text); i++ {
		c := text[i]
		alphanumeric := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !alphanumeric && (i == 0 || strings.IndexByte("._-/", c) < 0) {
			return false
		}
	}
	return text != "" && len(text) <= 253
}
