//go:build !linux

package pressure

// Descriptors has no limit where nobody counts them.
func Descriptors() Sensor {
	return Sensor{Name: "descriptors", Grades: Connections, Read: func() (float64, float64) { return 0, 0 }}
}
