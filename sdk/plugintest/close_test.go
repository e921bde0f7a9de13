package plugintest

import (
	"testing"

	"github.com/klamm-io/klamm"
	"github.com/klamm-io/klamm/sdk/plugin"
)

// Each way that a case is run natively is an instance of its own, which is
// closed: what OnClose registered runs once for each that was opened.
func TestInstancesAreClosed(t *testing.T) {
	opened, closed := 0, 0
	register := func() {
		plugin.OnInit(func(*plugin.Init) error {
			opened++
			return nil
		})
		plugin.OnClose(func() {
			if closed++; closed != opened {
				t.Errorf("instance %d is closed, of %d that were opened", closed, opened)
			}
		})
		plugin.OnSend(func(*plugin.Batch) error { return nil }, 0)
	}
	Run(t, "", []Case{{Name: "passes", Records: []klamm.Record{{}}, Want: []Want{{}}}}, Native(register))
	if opened == 0 || closed != opened {
		t.Errorf("%d instances were opened and %d closed", opened, closed)
	}
}
