package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/moneta-pay/moneta/doctor"
)

// Odd is an entry that cannot be what it says, and was left out of the fold.
type Odd struct {
	Seq uint64 `json:"seq"`
	Why string `json:"why"`
}

const (
	// closedKept is how many closed incidents a Journal keeps in memory; the files have
	// all of them.
	closedKept = 200
	// owingKept is how many older ones it keeps besides, because of what is still to be done.
	owingKept = 200
	oddKept   = 256
	laterKept = 256
)

// Fold is what entries say of incidents, oldest first. It is pure: equal entries give
// equal incidents, and a prefix gives what was known then.
func Fold(entries []doctor.Entry) ([]doctor.Incident, []Odd) {
	f := NewFolder(0)
	for _, e := range entries {
		f.Add(e)
	}
	return f.Incidents(), f.Odd()
}

// Folder folds entry by entry. It is not for several goroutines.
type Folder struct {
	keep  int
	order []string
	byID  map[string]*doctor.Incident
	// moved is the last entry of an incident that moved money or work, proofAt its newest
	// proof: what moved after a proof is not proved.
	moved, proofAt map[string]uint64
	odd            []Odd
	leftOut        int
}

// NewFolder keeps all open incidents, the last keep closed ones, and of the older ones the
// last 200 with follow-ups that nobody has done; 0 keeps all.
func NewFolder(keep int) *Folder {
	return &Folder{keep: keep, byID: map[string]*doctor.Incident{}, moved: map[string]uint64{}, proofAt: map[string]uint64{}}
}

// Odd are the entries that were left out, the newest 256.
func (f *Folder) Odd() []Odd { return slices.Clone(f.odd) }

// LeftOut is how many follow-ups that nobody had done went with the incidents over the
// bounds.
func (f *Folder) LeftOut() int { return f.leftOut }

// Incidents are copies, oldest first.
func (f *Folder) Incidents() []doctor.Incident {
	out := make([]doctor.Incident, 0, len(f.order))
	for _, id := range f.order {
		out = append(out, clone(f.byID[id]))
	}
	return out
}

// Incident is a copy of one.
func (f *Folder) Incident(id string) (doctor.Incident, bool) {
	in, ok := f.byID[id]
	if !ok {
		return doctor.Incident{}, false
	}
	return clone(in), true
}

// clone copies what a later entry changes in place; the rest is replaced, never changed.
func clone(in *doctor.Incident) doctor.Incident {
	out := *in
	out.Stages = maps.Clone(in.Stages)
	out.Alarms = slices.Clone(in.Alarms)
	out.Hops, out.Blamed = slices.Clone(in.Hops), slices.Clone(in.Blamed)
	out.Acts = slices.Clone(in.Acts)
	out.Waiting = slices.Clone(in.Waiting)
	out.FollowUps = slices.Clone(in.FollowUps)
	out.Later = slices.Clone(in.Later)
	return out
}

// oldestOpen is the first entry of the oldest open incident, 0 when none is open.
func (f *Folder) oldestOpen() uint64 {
	for _, id := range f.order {
		if in := f.byID[id]; in.ClosedAt == nil {
			return in.Entries[0]
		}
	}
	return 0
}

// Refuses says why an entry may not be written; nil when it may.
func (f *Folder) Refuses(e doctor.Entry) error {
	if e.What == "" || e.Who == "" {
		return errors.New("an entry says what, and who did it")
	}
	in := f.byID[e.Incident]
	switch e.What {
	case doctor.EntryOpened:
		if e.Incident == "" {
			return errors.New("an incident has an id")
		}
		if in != nil {
			return fmt.Errorf("incident %s is open or was already", e.Incident)
		}
	case doctor.EntryClosed:
		var c doctor.Closing
		if err := json.Unmarshal(e.Data, &c); err != nil {
			return err
		}
		return f.mayClose(in, &c)
	case doctor.EntryStage:
		var s doctor.StageReached
		if err := json.Unmarshal(e.Data, &s); err != nil {
			return err
		}
		return f.mayReach(in, s.Stage)
	case doctor.EntryFollowUp:
		var u doctor.FollowUp
		if err := json.Unmarshal(e.Data, &u); err != nil {
			return err
		}
		return mayFollow(in, &u)
	}
	_, err := f.read(e)
	return err
}

// mayClose is SOP-15: an incident ends on a clean proof of what is now, or on breaks that
// are listed and each somebody's.
func (f *Folder) mayClose(in *doctor.Incident, c *doctor.Closing) error {
	if in == nil {
		return errors.New("no such incident")
	}
	if in.ClosedAt != nil {
		return fmt.Errorf("%s is closed already", in.ID)
	}
	if !c.Clean {
		return c.Listed()
	}
	return f.proved(in)
}

func (f *Folder) proved(in *doctor.Incident) error {
	switch {
	case in.Proof == nil:
		return fmt.Errorf("%s has no proof", in.ID)
	case !in.Proof.Clean:
		return fmt.Errorf("the newest proof of %s is not clean", in.ID)
	case f.moved[in.ID] > f.proofAt[in.ID]:
		return fmt.Errorf("entry %d moved money or work after the newest proof of %s: prove again", f.moved[in.ID], in.ID)
	}
	return nil
}

func (f *Folder) mayReach(in *doctor.Incident, s doctor.Stage) error {
	if !slices.Contains(doctor.Stages(), s) {
		return fmt.Errorf("no stage %q", s)
	}
	if in == nil || s != doctor.Proved {
		return nil
	}
	return f.proved(in)
}

// mayFollow bounds what is written down to be done about an incident.
func mayFollow(in *doctor.Incident, u *doctor.FollowUp) error {
	if in == nil {
		return errors.New("no such incident")
	}
	if err := u.Check(); err != nil {
		return err
	}
	if len(in.FollowUps) >= doctor.FollowUpsMost && !slices.ContainsFunc(in.FollowUps, func(o doctor.Followed) bool { return o.ID == u.ID }) {
		return fmt.Errorf("%s has %d follow-ups, which is as many as may be", in.ID, doctor.FollowUpsMost)
	}
	return nil
}

// follow keeps the newest word on a follow-up.
func follow(in *doctor.Incident, seq uint64, u *doctor.FollowUp) error {
	if err := mayFollow(in, u); err != nil {
		return err
	}
	now := doctor.Followed{FollowUp: *u, Seq: seq}
	if i := slices.IndexFunc(in.FollowUps, func(o doctor.Followed) bool { return o.ID == u.ID }); i >= 0 {
		in.FollowUps[i] = now
	} else {
		in.FollowUps = append(in.FollowUps, now)
	}
	return nil
}

// Add takes the next entry.
func (f *Folder) Add(e doctor.Entry) {
	if e.Incident == "" {
		return
	}
	in := f.byID[e.Incident]
	switch {
	case in == nil && (e.What == doctor.EntryFollowUp || e.What == doctor.EntryNote):
		// The incident was given up to a bound before what people write of it: that begins
		// none, and opens none again.
		f.strange(e.Seq, fmt.Errorf("%s is not there any more", e.Incident))
		return
	case in == nil:
		in = f.open(e)
	case in.ClosedAt == nil:
		in.Entries[1] = e.Seq
	default:
		in.Later = append(in.Later, e.Seq)
		in.Later = in.Later[max(0, len(in.Later)-laterKept):]
	}
	data, err := f.read(e)
	if err == nil {
		err = f.apply(in, e, data)
	}
	if err != nil {
		f.strange(e.Seq, err)
	}
}

func (f *Folder) strange(seq uint64, why error) {
	f.odd = append(f.odd, Odd{Seq: seq, Why: why.Error()})
	f.odd = f.odd[max(0, len(f.odd)-oddKept):]
}

// open begins an incident; one whose opening is damaged or given up begins with the first
// of its entries that is there.
func (f *Folder) open(e doctor.Entry) *doctor.Incident {
	in := &doctor.Incident{
		ID: e.Incident, OpenedAt: e.At, Since: e.At, Stages: map[doctor.Stage]time.Time{},
		Alarms: []doctor.Alarm{}, Acts: []doctor.Done{}, Waiting: []doctor.Done{}, Entries: [2]uint64{e.Seq, e.Seq},
	}
	f.byID[e.Incident] = in
	f.order = append(f.order, e.Incident)
	if e.What != doctor.EntryOpened {
		f.strange(e.Seq, fmt.Errorf("the opening of %s is missing", e.Incident))
	}
	return in
}

// read decodes the data of an entry; nil for what the fold does not use.
func (f *Folder) read(e doctor.Entry) (any, error) {
	var to any
	switch e.What {
	case doctor.EntryOpened:
		to = &doctor.Opening{}
	case doctor.EntryAlarm, doctor.EntryQuiet:
		to = &doctor.Alarm{}
	case doctor.EntryEvidence:
		to = &doctor.EvidenceKept{}
	case doctor.EntryAnswer:
		to = &doctor.Answer{}
	case doctor.EntryStage:
		to = &doctor.StageReached{}
	case doctor.EntryTried, doctor.EntryDone, doctor.EntryFailed, doctor.EntrySkipped, doctor.EntryWaits:
		to = &doctor.Done{}
	case doctor.EntryApproved:
		to = &doctor.Approval{}
	case doctor.EntryTold:
		to = &doctor.Told{}
	case doctor.EntryMoney:
		to = &doctor.MoneyAtRisk{}
	case doctor.EntryProof:
		to = &doctor.ProofKept{}
	case doctor.EntryClosed:
		to = &doctor.Closing{}
	case doctor.EntryFollowUp:
		to = &doctor.FollowUp{}
	case doctor.EntryNote, doctor.EntryCollector, doctor.EntryStarted:
		to = &doctor.Note{}
	default:
		return nil, nil
	}
	if err := json.Unmarshal(e.Data, to); err != nil {
		return nil, fmt.Errorf("%s: %w", e.What, err)
	}
	return to, nil
}

// apply folds what one entry says into its incident. Closed is final, but for what follows
// from it.
func (f *Folder) apply(in *doctor.Incident, e doctor.Entry, data any) error {
	if u, ok := data.(*doctor.FollowUp); ok {
		err := follow(in, e.Seq, u)
		if in.ClosedAt != nil {
			f.forget()
		}
		return err
	}
	if in.ClosedAt != nil {
		switch e.What {
		case doctor.EntryNote, doctor.EntryTold, doctor.EntryEvidence:
			return nil
		}
		return fmt.Errorf("%s is closed: %q changes nothing", in.ID, e.What)
	}
	switch d := data.(type) {
	case *doctor.Opening:
		if e.Seq != in.Entries[0] {
			return fmt.Errorf("%s is open already", in.ID)
		}
		in.Stages[doctor.Detected] = e.At
		raise(in, d.Alarm)
	case *doctor.Alarm:
		in.Alarms = slices.DeleteFunc(in.Alarms, func(a doctor.Alarm) bool { return alike(&a, d) })
		if e.What == doctor.EntryAlarm {
			raise(in, *d)
		}
	case *doctor.Answer:
		in.Answer = d
		if in.FirstAnswer == nil && d.Verdict == doctor.CauseFound {
			in.FirstAnswer = d
		}
		blame(in)
	case *doctor.StageReached:
		if err := f.mayReach(in, d.Stage); err != nil {
			return err
		}
		if _, reached := in.Stages[d.Stage]; !reached {
			in.Stages[d.Stage] = e.At
		}
		blame(in)
	case *doctor.Told:
		see(in, e.At, d)
	case *doctor.Done:
		f.act(in, e, d)
	case *doctor.Approval:
		approve(in, e.Who, d)
	case *doctor.MoneyAtRisk:
		in.Money = d
		if m := in.MoneyMost; m == nil || d.Items > m.Items || (d.Items == m.Items && d.OldestS > m.OldestS) {
			in.MoneyMost = d
		}
	case *doctor.ProofKept:
		in.Proof = d
		f.proofAt[in.ID] = e.Seq
	case *doctor.Closing:
		if err := f.mayClose(in, d); err != nil {
			return err
		}
		at := e.At
		// Nobody can decide any more what a closed incident waited for.
		in.ClosedAt, in.Closing, in.Waiting = &at, d, []doctor.Done{}
		f.forget()
	}
	return nil
}

// alike says that two alarms are of the same breach.
func alike(a, b *doctor.Alarm) bool {
	return a.Rule == b.Rule && a.Hop == b.Hop && a.Signal == b.Signal && a.Statistic == b.Statistic
}

func raise(in *doctor.Incident, a doctor.Alarm) {
	in.Alarms = append(in.Alarms, a)
	in.Paged = in.Paged || a.Page
	for _, p := range a.Places() {
		if a.Page && !slices.Contains(in.Hops, p) {
			in.Hops = append(in.Hops, p)
		}
	}
	if !a.Since.IsZero() && a.Since.Before(in.Since) {
		in.Since = a.Since
	}
}

// blame keeps whose fault is acted on: what was diagnosed, and what stood instead later.
func blame(in *doctor.Incident) {
	if _, acted := in.Stages[doctor.Diagnosed]; !acted {
		return
	}
	if hop := in.Answer.Blames(); hop != "" && !slices.Contains(in.Blamed, hop) {
		in.Blamed = append(in.Blamed, hop)
	}
}

// see keeps whether a lever hides it: further words about the same do not begin it anew.
func see(in *doctor.Incident, at time.Time, d *doctor.Told) {
	if d.About == "" {
		return
	}
	if in.Sight != nil && in.Sight.About == d.About {
		at = in.Sight.Since
	}
	in.Sight = &doctor.Sight{About: d.About, Since: at, Text: d.Text}
}

// act keeps what became of an act, once for its id.
func (f *Folder) act(in *doctor.Incident, e doctor.Entry, d *doctor.Done) {
	same := func(x doctor.Done) bool { return x.Act.ID == d.Act.ID && d.Act.ID != "" }
	switch e.What {
	case doctor.EntryTried:
		return
	case doctor.EntryWaits:
		if !slices.ContainsFunc(in.Waiting, same) {
			in.Waiting = append(in.Waiting, *d)
		}
		return
	}
	in.Waiting = slices.DeleteFunc(in.Waiting, same)
	if i := slices.IndexFunc(in.Acts, same); i >= 0 {
		in.Acts[i] = *d
	} else {
		in.Acts = append(in.Acts, *d)
	}
	if e.What == doctor.EntryDone && d.Change.Reach >= doctor.Compensable && !d.Change.Nothing {
		f.moved[in.ID] = e.Seq
	}
}

// approve notes who agreed to what waits; what was refused waits no longer.
func approve(in *doctor.Incident, who string, a *doctor.Approval) {
	i := slices.IndexFunc(in.Waiting, func(d doctor.Done) bool { return d.Act.ID == a.ActID })
	switch {
	case i < 0:
	case !a.Agreed:
		in.Waiting = slices.Delete(in.Waiting, i, i+1)
	case !slices.Contains(in.Waiting[i].Act.Approved, who):
		agreed := slices.Clone(in.Waiting[i].Act.Approved)
		in.Waiting[i].Act.Approved = append(agreed, who)
	}
}

// forget drops the oldest closed incidents over the bounds: first those with nothing left
// to be done.
func (f *Folder) forget() {
	if f.keep == 0 {
		return
	}
	var closed []string
	for _, id := range f.order {
		if f.byID[id].ClosedAt != nil {
			closed = append(closed, id)
		}
	}
	older := closed[:max(0, len(closed)-f.keep)]
	owing := slices.DeleteFunc(slices.Clone(older), func(id string) bool { return f.byID[id].Open() == 0 })
	owing = owing[max(0, len(owing)-owingKept):]
	for _, id := range older {
		if !slices.Contains(owing, id) {
			f.drop(id)
		}
	}
}

func (f *Folder) drop(id string) {
	f.leftOut += f.byID[id].Open()
	f.order = slices.DeleteFunc(f.order, func(o string) bool { return o == id })
	delete(f.byID, id)
	delete(f.moved, id)
	delete(f.proofAt, id)
}
