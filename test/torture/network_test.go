package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/moneta-pay/moneta/test/binary"
)

// weather is what befalls a link: a toxic of toxiproxy in one direction or both, on
// each of its connections with that probability. Upstream is away from whoever
// connects: there a time-out of 0 swallows requests, downstream it swallows the
// replies to what was executed.
type weather struct {
	name       string
	toxic      string // none: nobody listens
	streams    []string
	toxicity   float64
	attributes string
}

// weathers are tried on every link.
var weathers = []weather{
	{"delay", "latency", []string{"upstream", "downstream"}, 1, `{"latency":100,"jitter":50}`},
	{"long delay", "latency", []string{"downstream"}, 1, `{"latency":2000,"jitter":500}`},
	{"reset", "reset_peer", []string{"upstream"}, 1, `{"timeout":20}`},
	{"requests lost", "timeout", []string{"upstream"}, 1, `{"timeout":0}`},
	{"replies lost", "timeout", []string{"downstream"}, 1, `{"timeout":0}`},
	{"sliced", "slicer", []string{"upstream", "downstream"}, 1, `{"average_size":48,"size_variation":16,"delay":100}`},
	{"loss one way", "timeout", []string{"upstream"}, 0.3, `{"timeout":0}`},
	{"loss the other way", "timeout", []string{"downstream"}, 0.3, `{"timeout":0}`},
	{"refused", "", nil, 1, ""},
}

// network is toxiproxy: links between the parts, and what befalls them.
type network struct {
	t     *testing.T
	api   string
	mu    sync.Mutex
	links map[string]string // by name: the body that makes it
}

// newNetwork starts toxiproxy, which is built from its own module.
func newNetwork(t *testing.T, dir string) *network {
	t.Helper()
	path, err := binary.Tool(t, filepath.Join("..", "network"))
	if errors.Is(err, binary.ErrNoModules) && !full {
		t.Skipf("NOT RUN: no network fails here, because toxiproxy is not to be had: %v", err)
	}
	require.NoError(t, err)
	listen := freePorts(t, 1)[0]
	log, err := os.Create(filepath.Join(dir, "network.log"))
	require.NoError(t, err)
	cmd := exec.Command(path, listen)
	cmd.Stdout, cmd.Stderr = log, log
	alive, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = alive.Close()
		require.NoError(t, cmd.Wait())
		require.NoError(t, log.Close())
	})
	n := &network{t: t, api: "http://" + listen, links: map[string]string{}}
	eventually(t, 10*time.Second, "toxiproxy serves", func() (bool, string) { return answersOK(n.api + "/version") })
	return n
}

// link makes a link to upstream and returns where it begins.
func (n *network) link(name, upstream string) string {
	n.t.Helper()
	listen := freePorts(n.t, 1)[0]
	n.links[name] = fmt.Sprintf(`{"name":%q,"listen":%q,"upstream":%q,"enabled":true}`, name, listen, upstream)
	require.NoError(n.t, n.tell(http.MethodPost, "/proxies", n.links[name]))
	return listen
}

// tell calls toxiproxy's API.
func (n *network) tell(method, path, body string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, n.api+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	said, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode >= http.StatusBadRequest {
		err = fmt.Errorf("toxiproxy: %s %s: %s %s", method, path, resp.Status, said)
	}
	return err
}

// spoil brings weather over a link.
func (n *network) spoil(link string, w weather) error {
	if w.toxic == "" {
		return n.tell(http.MethodPost, "/proxies/"+link, `{"enabled":false}`)
	}
	for _, stream := range w.streams {
		if err := n.tell(http.MethodPost, "/proxies/"+link+"/toxics", fmt.Sprintf(`{"name":%q,"type":%q,"stream":%q,"toxicity":%g,"attributes":%s}`,
			"toxic-"+stream, w.toxic, stream, w.toxicity, w.attributes)); err != nil {
			return err
		}
	}
	return nil
}

// clear ends the weather. A toxic that does not let go of a connection goes with the
// whole link, which is made anew.
func (n *network) clear(link string, w weather) error {
	if w.toxic == "" {
		return n.tell(http.MethodPost, "/proxies/"+link, `{"enabled":true}`)
	}
	var failed error
	for _, stream := range w.streams {
		failed = errors.Join(failed, n.tell(http.MethodDelete, "/proxies/"+link+"/toxics/toxic-"+stream, ""))
	}
	if failed == nil {
		return nil
	}
	if err := n.tell(http.MethodDelete, "/proxies/"+link, ""); err != nil {
		return errors.Join(failed, err)
	}
	return n.tell(http.MethodPost, "/proxies", n.links[link])
}

// storm plays rounds of all weathers over all links at once, each link in an order
// and at times of its own, which the seed decides. Afterwards all is clear.
func (n *network) storm(ctx context.Context, seed uint64, rounds int, shortest, longest time.Duration) (played []string, err error) {
	g, ctx := errgroup.WithContext(ctx)
	for link := range n.links {
		dice := rand.New(rand.NewPCG(seed, hash(link)))
		g.Go(func() error {
			for range rounds {
				for _, i := range dice.Perm(len(weathers)) {
					calm, lasts := between(dice, 100*time.Millisecond, 900*time.Millisecond), between(dice, shortest, longest)
					during(ctx, calm)
					if err := n.spoil(link, weathers[i]); err != nil {
						return err
					}
					during(ctx, lasts)
					if err := n.clear(link, weathers[i]); err != nil {
						return err
					}
					n.mu.Lock()
					played = append(played, fmt.Sprintf("%s: %s %s", link, weathers[i].name, lasts.Round(time.Millisecond)))
					n.mu.Unlock()
				}
			}
			return nil
		})
	}
	return played, g.Wait()
}

// hash makes a link's dice its own.
func hash(text string) (h uint64) {
	for _, c := range []byte(text) {
		h = h*31 + uint64(c)
	}
	return h
}

func between(dice *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(dice.Int64N(int64(most-least)))
}

// stormSeed names another storm.
const stormSeed = "MONETA_NETWORK_SEED"

func seedOf(t *testing.T, env string) uint64 {
	t.Helper()
	text := os.Getenv(env)
	if text == "" {
		return 20_261_122
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err, env)
	return seed
}

// Every link between the parts fails in every way, several at once, while clients
// pay: between each of two nodes and the database, between the nodes and the banks,
// between the banks and the receiver of their callbacks. When the weather is over,
// everything becomes final by itself, once.
func TestNetwork(t *testing.T) {
	together(t)
	w, net, nodes := newNetworked(t)
	l := newLoad(t, w, "network", 16, choose(12, 16), 60*time.Millisecond)
	l.nodes, l.attempt = nodes, 4*time.Second
	l.run()
	l.awaitAcks(t, 100, time.Minute)

	seed, before := seedOf(t, stormSeed), l.acks.Load()
	began := time.Now()
	played, err := net.storm(t.Context(), seed, choose(1, 8), choose(800*time.Millisecond, time.Second), choose(3*time.Second, 10*time.Second))
	require.NoError(t, err, "seed %d", seed)
	t.Logf("seed %d (repeat it with %s):\n%s", seed, stormSeed, strings.Join(played, "\n"))
	require.Len(t, played, len(net.links)*len(weathers)*choose(1, 8))
	meanwhile := l.acks.Load() - before
	back := l.awaitAcks(t, 100, backWithin)
	figure(t, "network: weathers over links", "%d in %s (seed %d); %d payments acknowledged meanwhile; 100 more %s after it cleared",
		len(played), time.Since(began).Round(time.Second), seed, meanwhile, back.Round(time.Millisecond))
	require.Positive(t, meanwhile, "nothing got through: the storm proves nothing")

	receipts := l.stop()
	repeated := 0
	for i := range receipts {
		if receipts[i].tries > 1 {
			repeated++
		}
	}
	var doubted int
	w.query(&doubted, `select count(distinct payment) from transitions where to_state = 5 and from_state <> 5`)
	figure(t, "network: payments repeated by their clients", "%d of %d; %d payments were unknown for a while", repeated, len(receipts), doubted)
	require.Positive(t, repeated, "no client was ever in doubt: the storm hit nothing")
	require.Positive(t, doubted, "no payment was ever unknown: the storm did not hit the banks' link")
	proveStormy(t, w, l, receipts, "network", 50)
	w.noLateEffects()
	w.controlOfNetwork(net, l)
}

// newNetworked is two nodes, their database and their banks, with links between them
// all, and returns the URLs of the nodes.
func newNetworked(t *testing.T) (*world, *network, []string) {
	t.Helper()
	w, server := newParts(t)
	n := newNetwork(t, w.dir)
	w.connect()
	w.makeKeys()
	listen := freePorts(t, 3)
	w.api = "http://" + listen[0]
	nodes := []string{w.api, "http://" + listen[1]}
	w.banksAt(listen[2], "http://"+n.link("callbacks", listen[0]))
	banks := "http://" + n.link("banks", listen[2])
	for i, name := range []string{"one", "two"} {
		w.nodeAt(name, listen[i], through(t, server, n.link("database-"+name, tcpAddress(t, server))), banks)
	}
	for _, node := range nodes {
		w.awaitReady(node)
	}
	return w, n, nodes
}

// apart parts the receipts of payments that ended as failed from all others.
func (w *world) apart(receipts []receipt) (rest []receipt, failed int) {
	w.t.Helper()
	rows, err := w.db.Query(w.t.Context(), `select p.remittance from payments p join transitions t on t.payment = p.id
     where t.from_state <> t.to_state and t.to_state in (7, 8, 9)`)
	require.NoError(w.t, err)
	ended, err := pgx.CollectRows(rows, pgx.RowTo[string])
	require.NoError(w.t, err)
	for i := range receipts {
		if slices.Contains(ended, receipts[i].Remittance) {
			failed++
		} else {
			rest = append(rest, receipts[i])
		}
	}
	return rest, failed
}

// controlOfNetwork plants the fault that the storm must not cause: a bank executes,
// its reply and its callback are lost, and then it does not know its own order. The
// plane believes what the bank's contract says that this proves, and pays again. The
// judge must see the double.
func (w *world) controlOfNetwork(net *network, l *load) {
	w.t.Helper()
	var lost weather
	for _, one := range weathers {
		if one.name == "replies lost" {
			lost = one
		}
	}
	w.behave("gh", `{"magic_amounts": false, "query_lag_ms": 3600000, "callback_lose": 1, "statement_omit": 1}`)
	require.NoError(w.t, net.spoil("banks", lost))
	ctx, cancel := context.WithTimeout(w.t.Context(), answerWithin)
	defer cancel()
	payer := &client{http: newHTTP(1), nodes: l.nodes, key: w.keys.Tenant, attempt: attemptWithin}
	const name = "network-control"
	r := l.order(ctx, payer, order{Kind: "payout", From: l.accounts[0], Channel: "bank-gh", Payee: &payee{"1"}, Amount: "4711", Asset: asset, Remittance: name}, name)
	require.NoError(w.t, r.err)
	executed := func() (n int) {
		for _, e := range w.books() {
			if e.Remittance == name {
				n++
			}
		}
		return n
	}
	eventually(w.t, 30*time.Second, "the bank executes", func() (bool, string) { return executed() == 1, "not yet" })
	require.NoError(w.t, net.clear("banks", lost))
	eventually(w.t, time.Minute, "the plane pays again", func() (bool, string) { return executed() == 2, fmt.Sprint(executed()) })
	v := &verdict{}
	w.countOutside(v, []receipt{r})
	require.Equal(w.t, 1, v.Doubled, "the banks executed twice and the judge did not see it")
	figure(w.t, "network, control: a double that was planted", "seen")
}
