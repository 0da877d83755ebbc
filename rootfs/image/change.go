package image

// Changes to an image's configuration, in the words of a Dockerfile:
//
//	CMD ["httpd", "-f"]      a JSON array is the command as it is;
//	CMD httpd -f             anything else is a line for /bin/sh -c
//	ENV A=1 B="two words"    or: ENV A the rest of the line
//	LABEL a=b c=d
//	EXPOSE 80 443/tcp 53/udp
//	VOLUME /data /logs       or a JSON array
//	WORKDIR, USER, STOPSIGNAL  one word

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
)

// changes are the instructions there are.
var changes = map[string]func(*RunConfig, string) error{
	"CMD":        func(c *RunConfig, s string) error { c.Cmd = commandLine(s); return nil },
	"ENTRYPOINT": func(c *RunConfig, s string) error { c.Entrypoint = commandLine(s); return nil },
	"ENV":        changeEnv,
	"EXPOSE":     changeExpose,
	"LABEL":      changeLabel,
	"STOPSIGNAL": func(c *RunConfig, s string) error { c.StopSignal = s; return nil },
	"USER":       func(c *RunConfig, s string) error { c.User = s; return nil },
	"VOLUME":     changeVolume,
	"WORKDIR":    changeWorkdir,
}

// Change applies one instruction, such as `CMD ["httpd"]`, to a configuration.
// The instruction's name may be in lower case. ENV and LABEL replace what has
// the same key, EXPOSE and VOLUME add, the others replace.
func Change(config *RunConfig, instruction string) error {
	name, rest, _ := strings.Cut(strings.TrimSpace(instruction), " ")
	change, ok := changes[strings.ToUpper(name)]
	if !ok {
		return fmt.Errorf("change %q: the instruction is none of CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR", instruction)
	}
	rest = strings.TrimSpace(rest)
	if rest == "" {
		return fmt.Errorf("change %q: nothing after the instruction", instruction)
	}
	if err := change(config, rest); err != nil {
		return fmt.Errorf("change %q: %w", instruction, err)
	}
	return nil
}

// commandLine reads a command in JSON or in shell form.
func commandLine(s string) []string {
	if words, ok := jsonWords(s); ok {
		return words
	}
	return []string{"/bin/sh", "-c", s}
}

func jsonWords(s string) ([]string, bool) {
	var words []string
	if !strings.HasPrefix(s, "[") || json.Unmarshal([]byte(s), &words) != nil {
		return nil, false
	}
	return words, true
}

func changeEnv(c *RunConfig, s string) error {
	return eachPair(s, func(key, value string) {
		c.Env = slices.DeleteFunc(c.Env, func(e string) bool { return strings.HasPrefix(e, key+"=") })
		c.Env = append(c.Env, key+"="+value)
	})
}

func changeLabel(c *RunConfig, s string) error {
	return eachPair(s, func(key, value string) {
		if c.Labels == nil {
			c.Labels = map[string]string{}
		}
		c.Labels[key] = value
	})
}

// eachPair reads KEY=VALUE …, or the older KEY VALUE, whose value is the rest
// of the line.
func eachPair(s string, use func(key, value string)) error {
	words, err := splitWords(s)
	if err != nil {
		return err
	}
	if !strings.Contains(words[0], "=") {
		key, value, ok := strings.Cut(s, " ")
		if !ok {
			return fmt.Errorf("%q is not KEY=VALUE", s)
		}
		use(key, strings.TrimSpace(value))
		return nil
	}
	for _, word := range words {
		key, value, ok := strings.Cut(word, "=")
		if !ok || key == "" {
			return fmt.Errorf("%q is not KEY=VALUE", word)
		}
		use(key, value)
	}
	return nil
}

// splitWords splits at spaces that are not in quotes or after a backslash,
// and takes the quotes away. Inside single quotes a backslash is itself.
func splitWords(s string) (words []string, err error) {
	var word strings.Builder
	var quote rune
	var started, escaped bool
	for _, c := range s {
		switch {
		case escaped:
			word.WriteRune(c)
			escaped = false
		case c == '\\' && quote != '\'':
			escaped, started = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote, started = c, true
		case quote == 0 && (c == ' ' || c == '\t'):
			if started {
				words = append(words, word.String())
				word.Reset()
			}
			started = false
		default:
			word.WriteRune(c)
			started = true
		}
	}
	if quote != 0 || escaped {
		return nil, fmt.Errorf("%q ends inside quotes", s)
	}
	if started {
		words = append(words, word.String())
	}
	return words, nil
}

func changeExpose(c *RunConfig, s string) error {
	for _, word := range strings.Fields(s) {
		ports, err := parsePorts(word)
		if err != nil {
			return err
		}
		if c.ExposedPorts == nil {
			c.ExposedPorts = map[string]struct{}{}
		}
		for _, port := range ports {
			c.ExposedPorts[port] = struct{}{}
		}
	}
	return nil
}

// parsePorts reads 80, 80/udp or 8000-8010/tcp, and gives every port with its
// protocol.
func parsePorts(s string) (ports []string, err error) {
	numbers, protocol, ok := strings.Cut(s, "/")
	if !ok {
		protocol = "tcp"
	}
	first, last, isRange := strings.Cut(numbers, "-")
	if !isRange {
		last = first
	}
	from, err1 := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if err1 != nil || err2 != nil || from == 0 || from > to || !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
		return nil, fmt.Errorf("%q is not PORT, PORT-PORT or either with /tcp, /udp or /sctp", s)
	}
	for port := from; port <= to; port++ {
		ports = append(ports, strconv.FormatUint(port, 10)+"/"+protocol)
	}
	return ports, nil
}

func changeVolume(c *RunConfig, s string) error {
	paths, ok := jsonWords(s)
	if !ok {
		paths = strings.Fields(s)
	}
	for _, p := range paths {
		if p == "" {
			return fmt.Errorf("empty path")
		}
		if c.Volumes == nil {
			c.Volumes = map[string]struct{}{}
		}
		c.Volumes[p] = struct{}{}
	}
	return nil
}

// changeWorkdir joins a relative path to what an earlier WORKDIR set.
func changeWorkdir(c *RunConfig, s string) error {
	if !path.IsAbs(s) {
		s = path.Join("/", c.WorkingDir, s)
	}
	c.WorkingDir = path.Clean(s)
	return nil
}
