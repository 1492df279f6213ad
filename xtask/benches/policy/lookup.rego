package astradesk

import rego.v1

# The same rules as data: how many there are costs nothing, because they are looked up.

decision := {"permits": permits, "forbids": forbids}

permits contains rule.id if {
	some role in input.principal.roles
	some rule in data.rules.permits[role][input.resource.namespace]
	covers(rule)
}

forbids contains rule.id if {
	some rule in data.rules.forbids[input.resource.namespace]
	covers(rule)
	holds(rule.when)
}

covers(rule) if {
	rule.action in {input.action.effect, input.action.tool}
	named(rule)
}

named(rule) if not rule.name

named(rule) if rule.name == input.resource.name

holds(when) if {
	when.kind == "unapproved"
	input.resource.tier == when.tier
	input.approvals.count < when.people
}

holds(when) if {
	when.kind == "without"
	object.get(input.approvals.roles, when.role, 0) < 1
}

holds(when) if {
	when.kind == "late"
	input.time % 86400 >= when.second
}

holds(when) if {
	when.kind == "agent"
	input.principal.actor
	input.resource.tier == when.tier
}
