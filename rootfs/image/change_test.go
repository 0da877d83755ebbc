package image

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestChange(t *testing.T) {
	for _, c := range []struct {
		instructions []string
		want         string
	}{
		{[]string{`CMD ["a","b c"]`}, `{"Cmd":["a","b c"]}`},
		{[]string{`CMD a b`}, `{"Cmd":["/bin/sh","-c","a b"]}`},
		{[]string{`cmd []`}, `{}`},
		{[]string{`CMD [ -f x ]`}, `{"Cmd":["/bin/sh","-c","[ -f x ]"]}`},
		{[]string{`ENTRYPOINT ["/init"]`}, `{"Entrypoint":["/init"]}`},
		{[]string{`ENV A=1 B="two words" C='$x\' D=a\ b`, `ENV A=2`}, `{"Env":["B=two words","C=$x\\","D=a b","A=2"]}`},
		{[]string{`ENV A the rest = all`}, `{"Env":["A=the rest = all"]}`},
		{[]string{`ENV A=`}, `{"Env":["A="]}`},
		{[]string{`EXPOSE 80 53/udp 8000-8001`}, `{"ExposedPorts":{"53/udp":{},"80/tcp":{},"8000/tcp":{},"8001/tcp":{}}}`},
		{[]string{`LABEL a=b "c d"="e f"`}, `{"Labels":{"a":"b","c d":"e f"}}`},
		{[]string{`VOLUME /a /b`, `VOLUME ["/c d"]`}, `{"Volumes":{"/a":{},"/b":{},"/c d":{}}}`},
		{[]string{`WORKDIR /a`, `WORKDIR b/../c`}, `{"WorkingDir":"/a/c"}`},
		{[]string{`WORKDIR ../..`}, `{"WorkingDir":"/"}`},
		{[]string{` USER  1000:1000 `, `STOPSIGNAL SIGWINCH`}, `{"User":"1000:1000","StopSignal":"SIGWINCH"}`},
	} {
		var config RunConfig
		for _, instruction := range c.instructions {
			if err := Change(&config, instruction); err != nil {
				t.Errorf("Change: %v", err)
			}
		}
		if got, _ := json.Marshal(config); string(got) != c.want {
			t.Errorf("Change(%q) = %s, want %s", c.instructions, got, c.want)
		}
	}
}

func TestChangeRefuses(t *testing.T) {
	for _, instruction := range []string{"", "CMD", "RUN x", "ONBUILD x", "ENV A", "ENV A=1 B", `ENV A="x`, `ENV =x`, "ENV A=x\\", "LABEL a", "EXPOSE x", "EXPOSE 0", "EXPOSE 70000", "EXPOSE 9-8", "EXPOSE 80/x", `VOLUME [""]`, `ENV ''`} {
		if err := Change(&RunConfig{}, instruction); err == nil {
			t.Errorf("Change(%q) succeeded", instruction)
		}
	}
}

func TestImport(t *testing.T) {
	plain := archive(t, file("bin/x", "x"))
	name, err := ParseReference("me/x")
	if err != nil {
		t.Fatal(err)
	}
	for mediaType, content := range map[string][]byte{MediaTypeLayer: plain, MediaTypeLayerGzip: gzipped(t, plain)} {
		s := newStore(t, Options{})
		image, err := s.Import(bytes.NewReader(content), name, `CMD ["/bin/x"]`, "ENV A=1")
		if err != nil {
			t.Fatalf("Import: %v", err)
		}
		if image.Names[0] != name || image.Config.Config.Cmd[0] != "/bin/x" || image.Config.RootFS.DiffIDs[0] != DigestOf(plain) || image.Config.Created == nil {
			t.Errorf("Import = %+v", image)
		}
		manifest, err := openStore(t, s).readManifest(image.Manifest)
		if err != nil || manifest.Layers[0].MediaType != mediaType {
			t.Errorf("manifest = %+v, %v, want a layer of type %s", manifest, err, mediaType)
		}
		// What it makes, others can load.
		if _, err := newStore(t, Options{}).LoadDirectory(s.root); err != nil {
			t.Error(err)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	s := newStore(t, Options{})
	for _, c := range []struct{ content, change string }{{"not a tar", "USER x"}, {"", "USER x"}, {"", "NONSENSE"}, {string(archive(t, file("../x", ""))), "USER x"}} {
		if _, err := s.Import(bytes.NewReader([]byte(c.content)), Reference{}, c.change); err == nil {
			t.Errorf("Import(%.10q, %q) succeeded", c.content, c.change)
		}
	}
	wantEmpty(t, s)
}
