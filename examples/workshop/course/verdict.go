package course

// A Kind is one of the four answers of a check.
type Kind int

const (
	Right  Kind = iota // what the lab asks for has happened
	NotYet             // something is still to be done
	Wrong              // a mistake, by its name
	Cannot             // this machine lacks what the lab needs
)

// Code is the exit code of `lab check`.
func (k Kind) Code() int { return int(k) }

// A Verdict is what a check has found out.
type Verdict struct {
	Kind  Kind
	Say   Text     // the sentence. Of Right it may be empty
	Facts []Fact   // what was measured
	Read  []string // the files that were read, such as "/proc/9314/status (NSpid)"
	See   string   // the command with which the student sees the same
}

// A Fact is a line below the sentence.
type Fact struct{ What, Observed, Expected Text } // Expected may be empty

// IsRight is the verdict of a lab that is done.
func IsRight() Verdict { return Verdict{Kind: Right} }

// IsNotYet says what is still to be done.
func IsNotYet(en, ko string, args ...any) Verdict {
	return Verdict{Kind: NotYet, Say: T(en, ko, args...)}
}

// IsWrong names a mistake.
func IsWrong(en, ko string, args ...any) Verdict {
	return Verdict{Kind: Wrong, Say: T(en, ko, args...)}
}

// IsCannot says what this machine lacks.
func IsCannot(en, ko string, args ...any) Verdict {
	return Verdict{Kind: Cannot, Say: T(en, ko, args...)}
}

// Fact adds a line: what was observed and, unless it is empty, what was expected.
func (v Verdict) Fact(what, observed, expected Text) Verdict {
	v.Facts = append(v.Facts[:len(v.Facts):len(v.Facts)], Fact{what, observed, expected})
	return v
}

// From names the files that were read, and the command that shows the same.
func (v Verdict) From(see string, read ...string) Verdict {
	v.See, v.Read = see, read
	return v
}
