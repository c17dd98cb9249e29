package app

import (
	"context"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay/recon"
)

// closeBreak ends a break of reconciliation: what one person alone must not call right
// when money may be lost. It moves none.
func closeBreak(breaks *recon.Recon) access.Kind {
	read := func(act *access.Action) (int64, recon.Closing, error) {
		c := recon.Closing{State: act.Parameters["state"], Code: act.Parameters["code"], Who: "approval " + act.ID.String() + " of " + act.Maker, Why: act.Reason}
		id, err := strconv.ParseInt(act.Parameters["break"], 10, 64)
		if err != nil || id <= 0 {
			return 0, c, fault.New(fault.MalformedRequest, "a break's id is a number").WithParam("/parameters/break")
		}
		return id, c, c.Check()
	}
	return access.Kind{
		Name: "close_break", Installation: true, Members: []access.Member{{Name: "break"}, {Name: "state"}, {Name: "code", Optional: true}},
		Check: func(ctx context.Context, act *access.Action) error {
			id, _, err := read(act)
			if err != nil {
				return err
			}
			return breaks.StillOpen(ctx, id)
		},
		Describe: func(act *access.Action) fault.Text {
			p := act.Parameters
			code := p["code"]
			if code == "" {
				code = "other"
			}
			word := map[string]string{recon.Explained: "已说明", recon.Resolved: "已解决"}[p["state"]]
			return fault.Text{
				En: fmt.Sprintf("Close the break %s as %s (%s); no money moves", p["break"], p["state"], code),
				Zh: fmt.Sprintf("将差异 %s 以“%s”（%s）关闭；不动用资金", p["break"], word, code),
			}
		},
		Apply: func(ctx context.Context, tx pgx.Tx, act *access.Action) (string, error) {
			id, c, err := read(act)
			if err != nil {
				return "", err
			}
			return "break " + act.Parameters["break"], breaks.CloseWithin(ctx, tx, id, c)
		},
	}
}
