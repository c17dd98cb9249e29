package app

import (
	"fmt"
	"slices"
	"time"

	"github.com/moneta-pay/moneta/money"
	"github.com/moneta-pay/moneta/pay/desk"
)

// newDesk keeps cases through the pool of readers: an appeal must not wait behind
// callbacks, nor callbacks behind appeals.
func (p *plane) newDesk() (*desk.Desk, error) {
	places := desk.Places()
	for name, kind := range p.cfg.Desk.Kinds {
		k := desk.Kind(name)
		if !slices.Contains(desk.Kinds(), k) {
			return nil, fmt.Errorf("desk.kinds: there is no kind of case %q; there are %v", name, desk.Kinds())
		}
		place := places[k]
		if kind.Owner != "" {
			place.Owner = kind.Owner
		}
		if kind.WithinMinutes > 0 {
			place.Within = time.Duration(kind.WithinMinutes) * time.Minute
		}
		places[k] = place
	}
	urgent := map[money.Asset]money.Amount{}
	for asset, text := range p.cfg.Desk.UrgentFrom {
		from, err := money.ParseMinor(text)
		if err != nil || from.Sign() <= 0 {
			return nil, fmt.Errorf("desk.urgent_from.%s: %q; write an amount in the smallest unit, such as 10000000", asset, text)
		}
		urgent[money.Asset(asset)] = from
	}
	return desk.New(desk.Config{
		UrgentFrom: urgent,
		Pool:       p.reads, Places: places, EscalateTo: p.cfg.Desk.EscalateTo, Bounds: p.bounds(), Telemetry: p.tel,
		Unsound: func() error { return p.node.TimeUnsound() }, // the node is built later
	}), nil
}
