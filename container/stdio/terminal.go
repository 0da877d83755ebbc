package stdio

import "minirun/plan"

// TerminalGate lets the child wait, when it has sent its terminal, until ready has
// changed the terminal's modes: what the program writes comes only after that. With a nil
// ready it records nothing.
func TerminalGate(p *plan.Plan, ready func() error) {
	if ready != nil {
		p.Gate("terminal", func() {
			p.Do("set the modes of the terminal", func(*plan.Process) error { return ready() })
		})
	}
}
