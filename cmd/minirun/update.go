package main

import (
	"time"

	"github.com/urfave/cli/v2"
)

// update and events are minirunc's: here are their flags, for help, and a
// container's name becomes its id.

func updateCommand() *cli.Command {
	flags := []cli.Flag{&cli.StringFlag{Name: "resources", Aliases: []string{"r"}, Usage: "the spec's linux.resources as JSON in `FILE`, or - for standard input, instead of flags"}}
	for _, f := range []struct{ name, usage string }{
		{"memory", "limit memory to `SIZE`; -1 for no limit"},
		{"memory-reservation", "keep `SIZE` of memory from being reclaimed"},
		{"memory-swap", "limit memory and swap together to `SIZE`; -1 for any swap"},
		{"cpu-share", "a share of the processors, `N` to 1024 of others"},
		{"cpu-quota", "`MICROSECONDS` of processor time in each period; -1 for no limit"},
		{"cpu-period", "the period: `MICROSECONDS`"},
		{"cpu-burst", "`MICROSECONDS` that may be saved up in idle periods"},
		{"cpu-idle", "`1` to run only when nobody else wants to, 0 not to"},
		{"cpuset-cpus", "run on processors `LIST`, such as 0-3,7"},
		{"cpuset-mems", "use memory nodes `LIST`"},
		{"pids-limit", "limit processes and threads to `N`; -1 for no limit"},
		{"blkio-weight", "a share of the disk time, `N` from 10 to 1000"},
		{"l3-cache-schema", "parts of the processors' caches, `SCHEMA` such as L3:0=7f0;1=1f"},
		{"mem-bw-schema", "shares of the memory bandwidth, `SCHEMA` such as MB:0=20;1=70"},
	} {
		flags = append(flags, &cli.StringFlag{Name: f.name, Usage: f.usage})
	}
	flags[1].(*cli.StringFlag).Aliases = []string{"m"}
	return &cli.Command{
		Name: "update", Usage: "change the limits of a container", ArgsUsage: "CONTAINER",
		Description: "Examples:\n" +
			"   minirun update --memory 64m --pids-limit 100 web\n" +
			"   minirun update --network-rate 10mbit:2mbit web\n" +
			"   minirun update --cpu-quota 50000 web             half a processor\n" +
			`   echo '{"memory":{"limit":-1}}' | minirun update -r - web`,
		Flags:  append(flags, &cli.StringFlag{Name: "network-rate", Usage: "limit the bandwidth of its link to `DOWN[:UP]`; 0 for no limit"}),
		Action: update,
	}
}

func eventsCommand() *cli.Command {
	return &cli.Command{
		Name: "events", Usage: "print what a container uses, and when it ran out of memory, as JSON", ArgsUsage: "CONTAINER",
		Description: "One object a line: of type stats at each interval, of type oom as it happens. It ends\nwith the container.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "stats", Usage: "once, and now"},
			&cli.DurationFlag{Name: "interval", Usage: "`DURATION` between two of type stats", Value: 5 * time.Second},
		},
		Action: hand,
	}
}

// hand hands a command over to minirunc, with the same flags and the container's id.
func hand(c *cli.Context) error {
	k, err := only(c)
	if err != nil {
		return err
	}
	var names []string
	for _, f := range c.Command.Flags {
		if name := f.Names()[0]; name != "network-rate" { // see update
			names = append(names, name)
		}
	}
	words := append(forPeople(c), c.Command.Name)
	return become(append(append(words, givenFlags(c, names...)...), k.ID)...)
}
