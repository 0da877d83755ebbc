package image_test

import (
	"encoding/json"
	"fmt"

	"minirun/rootfs/image"
)

func ExampleParseReference() {
	r, err := image.ParseReference("httpd")
	fmt.Println(r, r.Familiar(), r.Repository(), err)
	// Output: docker.io/library/httpd:latest httpd:latest httpd <nil>
}

func ExampleChange() {
	var config image.RunConfig
	for _, change := range []string{`CMD ["httpd", "-f"]`, "ENV LANG=C", "EXPOSE 80"} {
		if err := image.Change(&config, change); err != nil {
			fmt.Println(err)
		}
	}
	document, _ := json.Marshal(config)
	fmt.Println(string(document))
	// Output: {"ExposedPorts":{"80/tcp":{}},"Env":["LANG=C"],"Cmd":["httpd","-f"]}
}
