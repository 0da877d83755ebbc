package link

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"minirun/plan"
)

// This file sends prepared messages to nftables. A batch is all or nothing: the kernel
// makes all of its changes, or none (netlink(7), nfnetlink). It answers each message that
// asks for it with an nlmsgerr, whose error is 0 after success.

// Send sends a batch and returns the first error that the kernel answers. An empty batch does
// nothing. It needs CAP_NET_ADMIN.
func Send(batch []byte) error {
	if len(batch) == 0 {
		return nil
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.Sendto(fd, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("sendto: %w", err)
	}
	buffer := make([]byte, 1<<16)
	for range wantAnswers(batch) {
		n, _, err := unix.Recvfrom(fd, buffer, unix.MSG_DONTWAIT) // the kernel has answered before sendto returned
		if err != nil {                                           // EAGAIN: there was no answer, so nobody knows what was done
			return fmt.Errorf("recvfrom: %w", err)
		}
		if err := answers(buffer[:n]); err != nil {
			return err
		}
	}
	return nil
}

// messages calls do with the type, the flags and the payload of each message in a buffer, as
// struct nlmsghdr lays them out: length 4 bytes, type 2, flags 2, sequence number 4, port 4.
func messages(b []byte, do func(kind, flags uint16, payload []byte)) {
	for len(b) >= unix.NLMSG_HDRLEN {
		n := int(binary.NativeEndian.Uint32(b))
		if n < unix.NLMSG_HDRLEN || n > len(b) {
			return
		}
		do(binary.NativeEndian.Uint16(b[4:]), binary.NativeEndian.Uint16(b[6:]), b[unix.NLMSG_HDRLEN:n])
		b = b[min((n+3)&^3, len(b)):]
	}
}

// wantAnswers is how many messages of a batch ask for an answer.
func wantAnswers(batch []byte) (n int) {
	messages(batch, func(_, flags uint16, _ []byte) {
		if flags&unix.NLM_F_ACK != 0 {
			n++
		}
	})
	return n
}

// answers is the first error among answers.
func answers(b []byte) (err error) {
	messages(b, func(kind, _ uint16, payload []byte) {
		if kind != unix.NLMSG_ERROR || len(payload) < 4 {
			return
		}
		if code := int32(binary.NativeEndian.Uint32(payload)); code != 0 && err == nil {
			err = unix.Errno(-code)
		}
	})
	return err
}

// Withdraw removes the elements that lead to the container, where they still are: what an
// attached run does when its container has ended.
func (c *Config) Withdraw() error {
	if c == nil {
		return nil
	}
	var errs []error
	for _, m := range c.Publish {
		if err := Send(m.Delete); err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("nft %s: %w", m.Back, err))
		}
	}
	return errors.Join(errs...)
}

// End records the same as steps of the monitor, which is no Go program: it only sends. The
// kernel's answer is not read. If the element is there no more, nothing needs to be done.
func (c *Config) End(p *plan.Plan) {
	if c == nil || len(c.Publish) == 0 {
		return
	}
	p.Note("no port of the host's leads to the container any more")
	fd := p.Call("socket", unix.SYS_SOCKET, plan.Name{Value: unix.AF_NETLINK, Text: "AF_NETLINK"}, plan.Name{Value: unix.SOCK_RAW, Text: "SOCK_RAW"},
		plan.Name{Value: unix.NETLINK_NETFILTER, Text: "NETLINK_NETFILTER"}).Opens().As("nftables").Tolerate(unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS)
	for _, m := range c.Publish {
		message := &plan.Memory{Bytes: m.Delete, Show: func() string { return fmt.Sprintf("{%q}", m.Back) }}
		p.Call("sendto", unix.SYS_SENDTO, fd, message, plan.Num(len(m.Delete)), plan.Num(0), plan.Null, plan.Num(0)).Tolerate(unix.EPERM, unix.ENOMEM, unix.ENOBUFS, unix.EAGAIN)
	}
}
