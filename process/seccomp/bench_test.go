package seccomp

import "testing"

func BenchmarkCompileDefault(b *testing.B) {
	s := Default(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Compile(s); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDefault(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Default(nil)
	}
}

func TestX(t *testing.T) {
	f, err := Compile(Default(nil))
	t.Log(len(f.Program), err)
}
