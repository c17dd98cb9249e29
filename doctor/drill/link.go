package drill

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Link is a network with one machine behind it: a namespace with a device of its own,
// so that packets can be lost in one direction, silently, as by a broken switch.
type Link struct {
	// Space is the namespace, Device our end of the link, Address the far end.
	Space, Device, Address string
}

// linkWithin bounds one command.
const linkWithin = 5 * time.Second

// NewLink makes one; it needs root.
func NewLink(ctx context.Context) (*Link, error) {
	n := os.Getpid() & 0xfff
	l := &Link{Space: fmt.Sprintf("mdrill%d", n), Device: fmt.Sprintf("mdr%da", n), Address: fmt.Sprintf("10.213.%d.2", n&0xff)}
	far, near := fmt.Sprintf("mdr%db", n), fmt.Sprintf("10.213.%d.1/30", n&0xff)
	l.Close() // what a run that was killed left behind
	for _, c := range []string{
		"netns add " + l.Space,
		"link add " + l.Device + " type veth peer name " + far + " netns " + l.Space,
		"addr add " + near + " dev " + l.Device,
		"link set " + l.Device + " up",
		"-n " + l.Space + " addr add " + l.Address + "/30 dev " + far,
		"-n " + l.Space + " link set " + far + " up",
		"-n " + l.Space + " link set lo up",
	} {
		if err := command(ctx, "ip", strings.Fields(c)...); err != nil {
			l.Close()
			return nil, err
		}
	}
	return l, nil
}

// Drop loses what we send from now on; what comes the other way arrives.
func (l *Link) Drop(ctx context.Context) error { return dropAt(ctx, l.Device) }

func dropAt(ctx context.Context, device string) error {
	return command(ctx, "tc", "qdisc", "replace", "dev", device, "root", "blackhole")
}

func passAt(ctx context.Context, device string) error {
	return command(ctx, "tc", "qdisc", "del", "dev", device, "root")
}

// Close removes the link and its namespace.
func (l *Link) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), linkWithin)
	defer cancel()
	_ = command(ctx, "ip", "link", "del", l.Device) // both may be gone already
	_ = command(ctx, "ip", "netns", "del", l.Space)
}

func command(ctx context.Context, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, linkWithin)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Relay carries connections from listen to the unix socket at to, until ctx ends. It
// is the machine behind the link.
func Relay(ctx context.Context, listen, to string) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var all sync.WaitGroup
	defer all.Wait()
	for {
		in, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		all.Go(func() { carry(ctx, in, to) })
	}
}

func carry(ctx context.Context, in net.Conn, to string) {
	defer func() { _ = in.Close() }()
	var d net.Dialer
	out, err := d.DialContext(ctx, "unix", to)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	defer context.AfterFunc(ctx, func() { _ = in.Close(); _ = out.Close() })()
	var both sync.WaitGroup
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from) // whoever ends first ends both
		_ = in.Close()
		_ = out.Close()
	}
	both.Go(func() { pass(in, out) })
	both.Go(func() { pass(out, in) })
	both.Wait()
}
