package manifest

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"sync"
)

// A quantity is a decimal number and a unit: 500m is half of one, 64Mi is 64 × 2²⁰.
var quantity = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([0-9]{1,18}(?:\.[0-9]{1,9})?)([A-Za-z]*)$`) })

// units are those of sizes. k is small and Ki is not, as in the metric system.
var units = map[string]float64{
	"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12,
	"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40,
}

// ParseCPU reads "0.5", "2" or "500m". It refuses less than a thousandth and more than a
// million processors.
func ParseCPU(text string) (CPU, error) {
	m := quantity().FindStringSubmatch(text)
	if m == nil || m[2] != "" && m[2] != "m" {
		return 0, fmt.Errorf("%q: want a number of processors such as 0.5 or 500m", text)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, err
	}
	if m[2] == "" {
		n *= 1000
	}
	if n < 1 || n > 1e9 || n != math.Trunc(n) {
		return 0, fmt.Errorf("%q: want whole thousandths of a processor, at least 1m", text)
	}
	return CPU(n), nil
}

// ParseBytes reads "64Mi", "1G" or "1048576". It refuses fractions of a byte, and zero.
func ParseBytes(text string) (Bytes, error) {
	m := quantity().FindStringSubmatch(text)
	if m != nil && m[2] == "m" {
		return 0, fmt.Errorf("%q: m is a thousandth of a byte; a mebibyte is Mi", text)
	}
	unit, ok := 0.0, false
	if m != nil {
		unit, ok = units[m[2]]
	}
	if !ok {
		return 0, fmt.Errorf("%q: want a size such as 64Mi or 1Gi", text)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, err
	}
	if n *= unit; n < 1 || n >= math.MaxInt64 || n != math.Trunc(n) {
		return 0, fmt.Errorf("%q: want whole bytes, from 1 to 2^63-1", text)
	}
	return Bytes(n), nil
}
