-- The list of runs stays quick with a million of them, whatever it is filtered by.
CREATE INDEX runs_by_runbook_status ON runs (runbook, status);
CREATE INDEX runs_by_start ON runs (started_at);

-- What became of the instants of a month, of all schedules.
CREATE INDEX decisions_by_instant ON decisions (instant);

-- Which arms of a fan-out go on, without reading a million events.
CREATE INDEX events_of_branches ON events (id) WHERE substr(body, 1, 17) = '{"event":"branch_';
