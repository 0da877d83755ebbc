package cgroups

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// This file is as much of D-Bus as it takes to talk to systemd (D-Bus
// specification, "Message Protocol"). Why not a library? A general one makes
// every start of ours a tenth slower, also where there is no systemd.
//
// A connection begins with lines of text, and goes on with messages:
//
//	\0AUTH EXTERNAL 30\r\n    ->        who we are, which the socket says as well: "0" in hexadecimal
//	BEGIN\r\n                 ->
//	                          <-        OK 6f3a…\r\n
//	call, serial 1            ->
//	                          <-        return or error, reply to 1
//	                          <-        signals, whenever
//
//	byte      0  'l': little-endian   type   flags   1: version
//	          4  bytes of the body
//	          8  serial
//	         12  fields: an array of (number, value with its signature)
//	             padding to a multiple of 8
//	             body
//
// Every value begins at a multiple of its size. A signature says what a value
// is: s is a string, u and t are numbers of 32 and 64 bits, as is an array of
// strings, (sv) a string and something with a signature of its own.

// Kinds of messages.
const (
	methodCall = 1 + iota
	methodReturn
	errorReply
	signal
)

// Header fields.
const (
	fieldPath = 1 + iota
	fieldInterface
	fieldMember
	fieldError
	fieldReply
	fieldDestination
	fieldSender
	fieldSignature
)

// A message is what is of use to us in one that came.
type message struct {
	kind   byte
	reply  uint32 // to which serial
	member string // of a signal, with its interface
	error  string // the name of one, such as org.freedesktop.systemd1.NoSuchUnit
	body   reader
}

// A call is a method of an object with its arguments: strings, booleans,
// numbers, lists of those, or of properties.
type call struct {
	destination, path, method string // the method with its interface
	arguments                 []any
}

// A busError is an error that the other side has replied with.
type busError struct{ name, text string }

func (e *busError) Error() string { return e.text }

// A property is one setting, (sv).
type property struct {
	Name  string
	Value any
}

func (p property) String() string {
	switch v := p.Value.(type) {
	case string:
		return fmt.Sprintf("%s=%q", p.Name, v)
	case uint64:
		if v == math.MaxUint64 {
			return p.Name + "=infinity"
		}
	}
	return fmt.Sprintf("%s=%v", p.Name, p.Value)
}

// noUnits is an empty array of units with their properties: one more argument
// of StartTransientUnit, of no use yet.
type noUnits struct{}

// signatureOf is the signature of a value; "" of what we never send.
func signatureOf(value any) string {
	switch value.(type) {
	case string:
		return "s"
	case bool:
		return "b"
	case int32:
		return "i"
	case uint32:
		return "u"
	case uint64:
		return "t"
	case []byte:
		return "ay"
	case []uint32:
		return "au"
	case []string:
		return "as"
	case []property:
		return "a(sv)"
	case noUnits:
		return "a(sa(sv))"
	}
	return ""
}

// A writer is a message as it grows.
type writer []byte

func (w *writer) align(n int) {
	for len(*w)%n != 0 {
		*w = append(*w, 0)
	}
}

func (w *writer) number(n uint32) {
	w.align(4)
	*w = binary.LittleEndian.AppendUint32(*w, n)
}

func (w *writer) text(s string) {
	w.number(uint32(len(s)))
	*w = append(append(*w, s...), 0)
}

func (w *writer) signature(s string) { *w = append(append(append(*w, byte(len(s))), s...), 0) }

func (w *writer) variant(v any) {
	w.signature(signatureOf(v))
	w.value(v)
}

// array writes elements that begin at multiples of size, and how many bytes they take.
func (w *writer) array(size int, elements func()) {
	w.number(0)
	at := len(*w)
	w.align(size)
	first := len(*w)
	elements()
	binary.LittleEndian.PutUint32((*w)[at-4:], uint32(len(*w)-first))
}

func (w *writer) value(v any) {
	switch v := v.(type) {
	case string:
		w.text(v)
	case bool:
		n := uint32(0)
		if v {
			n = 1
		}
		w.number(n)
	case int32:
		w.number(uint32(v))
	case uint32:
		w.number(v)
	case uint64:
		w.align(8)
		*w = binary.LittleEndian.AppendUint64(*w, v)
	case []byte:
		w.array(1, func() { *w = append(*w, v...) })
	case []uint32:
		w.array(4, func() {
			for _, n := range v {
				w.number(n)
			}
		})
	case []string:
		w.array(4, func() {
			for _, s := range v {
				w.text(s)
			}
		})
	case []property:
		w.array(8, func() {
			for _, p := range v {
				w.align(8)
				w.text(p.Name)
				w.variant(p.Value)
			}
		})
	case noUnits:
		w.array(8, func() {})
	}
}

// encode is the call as a message.
func (c call) encode(serial uint32) []byte {
	var body writer
	signature := ""
	for _, a := range c.arguments {
		body.value(a)
		signature += signatureOf(a)
	}
	dot := strings.LastIndexByte(c.method, '.')
	w := writer{'l', methodCall, 0, 1}
	w.number(uint32(len(body)))
	w.number(serial)
	w.array(8, func() {
		for _, f := range []struct {
			number    byte
			signature string
			value     string
		}{
			{fieldPath, "o", c.path}, {fieldInterface, "s", c.method[:dot]}, {fieldMember, "s", c.method[dot+1:]},
			{fieldDestination, "s", c.destination}, {fieldSignature, "g", signature},
		} {
			w.align(8)
			w = append(w, f.number)
			w.signature(f.signature)
			if f.signature == "g" {
				w.signature(f.value)
			} else {
				w.text(f.value)
			}
		}
	})
	w.align(8)
	return append(w, body...)
}

// errMessage says that a message is not what the specification wants.
var errMessage = errors.New("not a D-Bus message")

// A reader takes values from a message. The first that is not there makes it
// bad, and all after it zero.
type reader struct {
	data []byte
	at   int
	bad  bool
}

func (r *reader) bytes(size, n int) []byte {
	r.at += -r.at & (size - 1)
	if r.bad || n < 0 || n > len(r.data)-r.at {
		r.bad = true
		return make([]byte, min(max(n, 0), 8))
	}
	r.at += n
	return r.data[r.at-n : r.at]
}

func (r *reader) number() uint32 { return binary.LittleEndian.Uint32(r.bytes(4, 4)) }

func (r *reader) text() string {
	s := string(r.bytes(1, int(r.number())))
	r.bytes(1, 1) // NUL
	return s
}

func (r *reader) signature() string {
	s := string(r.bytes(1, int(r.bytes(1, 1)[0])))
	r.bytes(1, 1)
	return s
}

// head reads the part of a message of which the length is always the same.
func head(h []byte) (fields, body int, err error) {
	fields, body = int(binary.LittleEndian.Uint32(h[12:])), int(binary.LittleEndian.Uint32(h[4:]))
	const most = 16 << 20
	if h[0] != 'l' || h[3] != 1 || fields > most || body > most {
		return 0, 0, errMessage
	}
	return fields, body, nil
}

// decode reads a whole message.
func decode(data []byte) (*message, error) {
	if len(data) < 16 {
		return nil, errMessage
	}
	fields, body, err := head(data)
	start := 16 + (fields+7)&^7
	if err != nil || len(data) != start+body {
		return nil, errMessage
	}
	m := &message{kind: data[1], body: reader{data: data[start:]}}
	r := &reader{data: data[:16+fields], at: 16}
	var where string
	for r.at < len(r.data) && !r.bad {
		switch number, signature := r.bytes(8, 1)[0], r.signature(); {
		case signature == "u":
			if n := r.number(); number == fieldReply {
				m.reply = n
			}
		case signature == "g":
			r.signature()
		case signature != "s" && signature != "o":
			return nil, errMessage
		case number == fieldInterface:
			where = r.text()
		case number == fieldMember:
			m.member = r.text()
		case number == fieldError:
			m.error = r.text()
		default:
			r.text()
		}
	}
	if r.bad {
		return nil, errMessage
	}
	m.member = where + "." + m.member
	return m, nil
}

// A bus is a connection. Why not one of package net? That brings its resolver of
// names along.
type bus struct {
	*os.File
	in     *bufio.Reader
	serial uint32 // of the last call
}

// dial connects to an address such as unix:path=/run/user/1000/bus, or the
// first of several that answers, as the user with that number. No message is
// waited for longer than limit.
func dial(address string, uid int, limit time.Duration) (*bus, error) {
	var all error
	for a := range strings.SplitSeq(address, ";") {
		path, err := socketOf(a)
		if err == nil {
			var b *bus
			if b, err = open(path, limit); err == nil {
				if err = b.authenticate(uid); err == nil {
					return b, nil
				}
				b.Close()
			}
		}
		all = errors.Join(all, err)
	}
	return nil, all
}

// open connects to a Unix socket (unix(7)).
func open(path string, limit time.Duration) (*bus, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), path)
	wait := unix.NsecToTimeval(limit.Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait),
		unix.Connect(fd, &unix.SockaddrUnix{Name: path}))
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("connect to %s: %w", path, err)
	}
	return &bus{File: f, in: bufio.NewReader(f)}, nil
}

// socketOf is the Unix socket of one address; with @ first, an abstract one. In an address bytes
// can be escaped as in URLs.
func socketOf(address string) (string, error) {
	if options, ok := strings.CutPrefix(address, "unix:"); ok {
		for option := range strings.SplitSeq(options, ",") {
			key, value, _ := strings.Cut(option, "=")
			path, err := url.PathUnescape(value)
			switch {
			case err != nil:
			case key == "path":
				return path, nil
			case key == "abstract":
				return "@" + path, nil
			}
		}
	}
	return "", fmt.Errorf("bus address %q: want unix:path=PATH", address)
}

// authenticate says who we are. Why BEGIN before the answer? A call that systemd
// reads together with BEGIN it leaves lying until more comes.
func (b *bus) authenticate(uid int) error {
	if _, err := fmt.Fprintf(b, "\x00AUTH EXTERNAL %s\r\nBEGIN\r\n", hex.EncodeToString([]byte(strconv.Itoa(uid)))); err != nil {
		return err
	}
	line, err := b.in.ReadSlice('\n')
	if err == nil && !strings.HasPrefix(string(line), "OK ") {
		err = fmt.Errorf("%s: user %d is not let in: %q", b.Name(), uid, line)
	}
	return err
}

// send sends a call; its reply is to have the serial.
func (b *bus) send(c call) (serial uint32, err error) {
	b.serial++
	_, err = b.Write(c.encode(b.serial))
	return b.serial, err
}

// next waits for the next message.
func (b *bus) next() (*message, error) {
	data := make([]byte, 16)
	if _, err := io.ReadFull(b.in, data); err != nil {
		return nil, err
	}
	fields, body, err := head(data)
	if err != nil {
		return nil, err
	}
	data = append(data, make([]byte, (fields+7)&^7+body)...)
	if _, err := io.ReadFull(b.in, data[16:]); err != nil {
		return nil, err
	}
	return decode(data)
}

// call calls a method, and waits for its reply. Others' messages are left out.
func (b *bus) call(c call) (*message, error) {
	serial, err := b.send(c)
	for err == nil {
		var m *message
		if m, err = b.next(); err == nil && m.reply == serial {
			return m, m.failure()
		}
	}
	return nil, err
}

// failure is the error that a message tells of, or nil.
func (m *message) failure() error {
	if m.kind != errorReply {
		return nil
	}
	return &busError{m.error, strings.TrimSuffix(m.body.text(), ".")}
}
