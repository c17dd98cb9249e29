package lever

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of a pull.
const (
	// ExpiryMin and ExpiryMax bound how long a lever holds: whoever needs it longer
	// pulls it again, and says again why.
	ExpiryMin = 5 * time.Second
	ExpiryMax = 24 * time.Hour
	// HoldingMax bounds how many levers hold at once, so that asking stays cheap.
	HoldingMax = 64

	ownerMax  = 100 // bytes
	reasonMax = 500
	valueMax  = 500

	quotaMax  = 10_000_000
	windowMax = time.Hour
	callsMax  = 10_000
)

// Refusal says why a pull is refused. Param is the member that is wrong.
type Refusal struct{ Param, Detail string }

// Error returns the detail.
func (r *Refusal) Error() string { return r.Detail }

func refuse(param, detail string) error { return &Refusal{param, detail} }

// Callbacks is the operation that takes a channel's word. No lever limits it: a
// callback that is refused may be the only proof that money moved (rule N11).
const Callbacks = "receive-callback"

// Check refuses a pull that must not be pulled: *Refusal.
func (p *Pull) Check() error {
	e, ok := Lookup(p.Lever)
	if !ok {
		return refuse("lever", "there is no such lever; there are "+names())
	}
	if !slices.Contains(e.Aims, p.Aim.By) {
		return refuse("aim", fmt.Sprintf("%s is aimed at %s", e.Name, aims(e.Aims)))
	}
	if err := p.checkAim(); err != nil {
		return err
	}
	for _, t := range []struct {
		param, text string
		most        int
	}{{"owner", p.Owner, ownerMax}, {"reason", p.Reason, reasonMax}} {
		if strings.TrimSpace(t.text) == "" || len(t.text) > t.most || !visible(t.text) {
			return refuse(t.param, fmt.Sprintf("needed: 1 to %d bytes, no invisible characters", t.most))
		}
	}
	if d := p.Expires.Sub(p.At); d < ExpiryMin || d > ExpiryMax {
		return refuse("expires_at", fmt.Sprintf("a lever holds for %s to %s; pull it again when it must hold longer", ExpiryMin, ExpiryMax))
	}
	return p.checkValue()
}

func (p *Pull) checkAim() error {
	switch p.Aim.By {
	case Tenant:
		if n, err := strconv.ParseInt(p.Aim.Of, 10, 32); err != nil || n < 1 || strconv.FormatInt(n, 10) != p.Aim.Of {
			return refuse("aim", "a tenant is named by its number")
		}
	case Kind:
		if !slices.Contains(Kinds, p.Aim.Of) {
			return refuse("aim", "a kind is one of "+strings.Join(Kinds, ", "))
		}
	case Route:
		if p.Aim.Of == Callbacks {
			return refuse("aim", "callbacks are never refused: they may be the only proof that money moved")
		}
	case Everything, Channel, Key, Account:
	}
	return nil
}

func (p *Pull) checkValue() error {
	if p.ValueZH != "" && p.Lever != Banner {
		return refuse("value_zh", "only a banner has a Chinese text")
	}
	switch p.Lever {
	case Limit:
		_, err := ParseRate(p.Value)
		return err
	case Bulkhead:
		if n, err := strconv.Atoi(p.Value); err != nil || n < 1 || n > callsMax {
			return refuse("value", "calls at once: 1 to 10000; to send nothing, pull pause-dispatch")
		}
	case SafeMode:
		if p.Value != "" && p.Value != intakeOpen {
			return refuse("value", "empty, or "+intakeOpen)
		}
	case Banner:
		return checkBanner(p.Value, p.ValueZH)
	case PauseDispatch, PauseIntake, ReadOnly, Breaker:
		if p.Value != "" {
			return refuse("value", string(p.Lever)+" has no value")
		}
	}
	return nil
}

// intakeOpen is the value of a safe mode that goes on accepting payments.
const intakeOpen = "intake=open"

// Rate is a quota in a window.
type Rate struct {
	Quota  int32
	Window time.Duration
}

// ParseRate reads a quota and a window of whole seconds, such as 600/1m.
func ParseRate(s string) (Rate, error) {
	quota, window, ok := strings.Cut(s, "/")
	n, err := strconv.ParseInt(quota, 10, 32)
	d, err2 := time.ParseDuration(window)
	if !ok || err != nil || err2 != nil || n < 1 || n > quotaMax || d < time.Second || d > windowMax || d%time.Second != 0 {
		return Rate{}, refuse("value", "a limit is a quota and a window of 1s to 1h, such as 600/1m; to let nothing through, pull pause-intake")
	}
	return Rate{int32(n), d}, nil
}

// A banner must not tell people to pay again, to clear the app or to hand out keys
// (rule N12). What is said not to do is taken out first.
var (
	warned  = regexp.MustCompile(`(?i)\b(do not|don't|don’t|never|no need to|need not)\b[^.!;]*|(请勿|切勿|不要|无需|不必|请不要)[^。!!;;,,]*`)
	harmful = regexp.MustCompile(`(?i)\bre-?pay|\b(pay|send|transfer|submit|try)\b[^.!;]{0,30}\bagain\b|\bretry\b|\b(clear|delete|wipe)\b[^.!;]{0,20}\b(data|cache|app)\b|\breinstall|\b(export|send|share|enter)\b[^.!;]{0,30}\b(keys?|seed|phrase|password|pin)\b|再(次|付|支付|转)|重新(支付|付款|转账|提交|安装)|重试|清(除|空|理)|卸载|助记词|私钥|密码`)
)

func checkBanner(en, zh string) error {
	for _, t := range []struct{ param, text string }{{"value", en}, {"value_zh", zh}} {
		if strings.TrimSpace(t.text) == "" || len(t.text) > valueMax || !visible(t.text) {
			return refuse(t.param, fmt.Sprintf("a banner has a text in English and one in Chinese, each of 1 to %d bytes", valueMax))
		}
		if found := Harmful(t.text); found != "" {
			return refuse(t.param, fmt.Sprintf("a banner never tells people to pay again, to clear the app or to hand out keys (%q); say what not to do in a sentence of its own", found))
		}
	}
	return nil
}

// Harmful returns the words of a text that tell people to pay again, to clear the app
// or to hand out keys; empty when there are none.
func Harmful(text string) string {
	return harmful.FindString(warned.ReplaceAllString(text, ""))
}

// visible reports whether people see all of a text, on one line.
func visible(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) {
			return false
		}
	}
	return true
}

func names() string {
	var all []string
	for _, e := range catalogue {
		all = append(all, string(e.Name))
	}
	return strings.Join(all, ", ")
}

func aims(ds []Dimension) string {
	var all []string
	for _, d := range ds {
		all = append(all, string(d))
	}
	return strings.Join(all, ", ")
}
