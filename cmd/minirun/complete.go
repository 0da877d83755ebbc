package main

import (
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"minirun/cmd/report"
)

// To complete a word, a shell executes the command line up to that word, as far as it
// is typed, with this flag behind it. Each line that is printed is a possible word.
const completion = "--generate-bash-completion"

// arrangeCompletion keeps the parts of such a line that the library needs: the flags
// before the command, and the command. The beginning of a flag would be an error
// to the library; [complete] looks at it by itself.
func arrangeCompletion(args []string) []string {
	words := args[1 : len(args)-1]
	_, rest := leading(words, takesNext)
	kept := append(args[:1:1], words[:len(words)-len(rest)]...)
	if len(rest) > 1 {
		kept = append(kept, rest[0])
	}
	return append(kept, completion)
}

// complete prints the flags of a command, or the containers or images that its
// argument can be. For a flag's value it prints nothing: most values are files, and
// those the shell completes.
func complete(command *cli.Command) cli.BashCompleteFunc {
	return func(c *cli.Context) {
		last, before := os.Args[max(0, len(os.Args)-2)], os.Args[max(0, len(os.Args)-3)]
		switch {
		case strings.HasPrefix(last, "-"):
			cli.DefaultCompleteWithFlags(command)(c)
		case strings.HasPrefix(before, "-") && takesValue(command.Flags, strings.TrimLeft(before, "-")):
		case strings.Contains(command.ArgsUsage, "CONTAINER"):
			all, _ := list(c) // after an error there is nothing to complete
			for _, l := range all {
				report.Printf(c.App.Writer, "%s\n", l.Name)
			}
		case strings.HasPrefix(command.ArgsUsage, "IMAGE"):
			completeImages(c)
		}
	}
}

// takesValue says whether a flag of that name has a value.
func takesValue(flags []cli.Flag, name string) bool {
	return slices.ContainsFunc(flags, func(f cli.Flag) bool {
		d, ok := f.(cli.DocGenerationFlag)
		return ok && d.TakesValue() && slices.Contains(f.Names(), name)
	})
}

func completeImages(c *cli.Context) {
	s, err := images(c)
	if err != nil {
		return
	}
	all, _ := s.List()
	for _, img := range all {
		report.Printf(c.App.Writer, "%s\n", imageName(img))
	}
}
