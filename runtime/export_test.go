package runtime

// MakeAnew has every fault of the plugin's new seats cost a new instance.
func (p *Plugin) MakeAnew() { p.Active().Module.restores = false }

// QuietHost is a Host that has nothing.
func QuietHost() Host { return quietHost{} }
