package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// examples are shown by --help, for commands whose description has none.
var examples = map[string][]string{
	"logs":    {"minirun logs web", "minirun logs -f -n 10 web"},
	"stop":    {"minirun stop web", "minirun stop -t 2 -s INT web db"},
	"port":    {"minirun port web", "minirun port web 80"},
	"rm":      {"minirun rm web", "minirun rm -f web db"},
	"images":  {"minirun images", "minirun images --format '{{.Repository}} {{.Size}}' httpd"},
	"tag":     {"minirun tag httpd:latest httpd:old"},
	"rmi":     {"minirun rmi httpd busybox:latest"},
	"prune":   {"minirun prune", "minirun image prune"},
	"tree":    {"minirun tree", "minirun tree -o json web"},
	"threads": {"minirun threads", "minirun threads web"},
	"ns":      {"minirun ns web"},
	"doctor":  {"minirun doctor"},
	"kill":    {"minirun kill web", "minirun kill --all web KILL"},
	"pause":   {"minirun pause web"},
	"resume":  {"minirun resume web"},
	"events":  {"minirun events --stats web", "minirun events --interval 10s web"},
}

// describe is a command's description with its examples.
func describe(name, description string) string {
	if examples[name] == nil {
		return description
	}
	if description != "" {
		description += "\n\n"
	}
	return description + "Examples:\n   " + strings.Join(examples[name], "\n   ")
}

// flagLine is a flag's line in --help: -m, --memory SIZE, a tab, what it does.
// The word in back quotes in its usage stands for the value.
func flagLine(f cli.Flag) string {
	d, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return ""
	}
	usage := d.GetUsage()
	value := ""
	if parts := strings.SplitN(usage, "`", 3); len(parts) == 3 {
		value, usage = " "+parts[1], strings.Join(parts, "")
	}
	if text := d.GetDefaultText(); d.TakesValue() && text != "" && text != "0" && text != `""` && text != "false" {
		usage += " (else: " + text + ")"
	}
	names := slices.Clone(f.Names())
	slices.SortStableFunc(names, func(a, b string) int { return min(len(a), 2) - min(len(b), 2) })
	for i, n := range names {
		names[i] = strings.Repeat("-", min(len(n), 2)) + n
	}
	return strings.Join(names, ", ") + value + "\t" + usage
}
