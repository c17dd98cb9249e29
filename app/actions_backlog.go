package app

import (
	"context"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/moneta-pay/moneta/access"
	"github.com/moneta-pay/moneta/fault"
	"github.com/moneta-pay/moneta/pay/settle"
)

// giveUpCallback ends callbacks that were set aside and that nobody can apply: what may
// be the only proof that money moved, so that two people look. Their bytes stay.
func giveUpCallback(inbox *settle.Inbox) access.Kind {
	read := func(act *access.Action) (*settle.AsideOrder, error) {
		o := &settle.AsideOrder{By: "approval " + act.ID.String() + " of " + act.Maker, Reason: act.Reason}
		for text := range strings.SplitSeq(act.Parameters["callbacks"], ",") {
			id, err := strconv.ParseInt(text, 10, 64)
			if err != nil || id <= 0 {
				return nil, fault.New(fault.MalformedRequest, "callbacks are numbers with commas between them").WithParam("/parameters/callbacks")
			}
			o.Callbacks = append(o.Callbacks, id)
		}
		return o, nil
	}
	return access.Kind{
		Name: "give_up_callback", Installation: true, Members: []access.Member{{Name: "callbacks"}},
		Check: func(ctx context.Context, act *access.Action) error {
			o, err := read(act)
			if err != nil {
				return err
			}
			return inbox.IsAside(ctx, o)
		},
		Describe: func(act *access.Action) fault.Text {
			ids := act.Parameters["callbacks"]
			return fault.Text{
				En: "Give up the callbacks " + ids + " that were set aside: nobody applies them any more; no money moves, their bytes stay",
				Zh: "放弃已搁置的回调 " + ids + ":不再应用;不动用资金,原文保留",
			}
		},
		Apply: func(ctx context.Context, tx pgx.Tx, act *access.Action) (string, error) {
			o, err := read(act)
			if err != nil {
				return "", err
			}
			n, err := inbox.GiveUp(ctx, tx, o)
			return strconv.Itoa(n) + " given up", err
		},
	}
}
