using Intercommunalite.Connector.Forwarding;
using Intercommunalite.Contracts.Bus;
using Intercommunalite.Hub.Ingestion;

namespace Intercommunalite.Protocol.Tests;

/// <summary>A message on the broker's ingestion queue.</summary>
internal sealed record Message(Commune From, Guid Journal, long First, Guid? Before, IReadOnlyList<Fact> Facts);

/// <summary>What the protocol promises was not kept.</summary>
internal sealed class BrokenPromiseException(string what) : Exception(what);

/// <summary>
/// Communes, connectors, a broker that loses, doubles, reorders and delays, and a hub, in one thread and on one random seed.
/// The decisions are the services' own (<see cref="ForwarderState"/>, <see cref="Receiver"/>, <see cref="IncomingEvents"/>);
/// what stands around them here is disks, a queue and a store without I/O. At any step either side may crash and start again;
/// journals are lost, or restored from an older copy; the hub is restored from a backup. Then comes a time without faults, in
/// which everything accepted must reach the store.
/// </summary>
internal sealed class World
{
    private const int Prefetch = 16;
    private static readonly TimeSpan s_retention = TimeSpan.FromHours(3);

    // A hub is restored from no older backup than that, and a journal is not without news from the hub for longer than the rest.
    private static readonly TimeSpan s_oldestBackup = TimeSpan.FromHours(1);
    private static readonly ForwardingOptions s_options = new();

    private readonly Random _chance;
    private readonly Rules _rules;
    private readonly List<Commune> _communes;
    private readonly List<Message> _queue = [];
    private readonly List<(Commune To, JournalReceipt Receipt)> _receipts = [];
    private readonly List<(DateTimeOffset At, Store Store)> _backups = [];
    private DateTimeOffset _now = DateTimeOffset.UnixEpoch;
    private Store _store = new();
    private Node? _hub;

    public World(int seed, Rules rules)
    {
        (_chance, _rules) = (new Random(seed), rules);
        _communes = [.. Enumerable.Range(0, _chance.Next(1, 5)).Select(number => new Commune($"3500{number + 1}", NewDisk()))];
        foreach (var commune in _communes) Start(commune);
        StartHub();
    }

    /// <summary>How long the time without faults took until everything was in the store.</summary>
    public TimeSpan Recovery { get; private set; }

    /// <summary>How often something of each kind went wrong, or right.</summary>
    public SortedDictionary<string, int> Happened { get; } = [];

    /// <summary>What happened when, to be read when a promise was broken; kept only when the seed is run alone.</summary>
    public List<string>? History { get; init; }

    /// <summary>Runs it all.</summary>
    /// <exception cref="BrokenPromiseException">A promise was not kept.</exception>
    public void Run()
    {
        for (var step = _chance.Next(200, 900); step > 0; step--)
        {
            _now += TimeSpan.FromMilliseconds(_chance.Next(1_500));
            Step(Any(_communes));
        }

        foreach (var commune in _communes.Where(commune => commune.Forwarder is null)) Start(commune);
        if (_hub is null) StartHub();
        var calm = _now;
        while (!IsComplete())
        {
            if (_now - calm > TimeSpan.FromMinutes(10)) throw new BrokenPromiseException($"not everything reached the store: {Describe()}");
            _now += TimeSpan.FromMilliseconds(500);
            Settle();
        }

        Recovery = _now - calm;
        CheckStore();
    }

    // --- what may happen -------------------------------------------------------------------------------------------------

    private void Step(Commune commune)
    {
        switch (_chance.Next(1000))
        {
            case < 150: Do("accepted", () => Accept(commune)); break;
            case < 350: Forward(commune); break;
            case < 550: if (commune.InFlight.Count > 0) Confirm(commune, Any(commune.InFlight)); break;
            case < 700: if (_queue.Count > 0) Deliver(Any(_queue)); break;
            case < 800: Ingest(mayFail: true); break;
            case < 940: if (_receipts.Count > 0) Hear(_chance.Next(4) == 0 ? _chance.Next(_receipts.Count) : 0, lost: _chance.Next(20) == 0); break;
            case < 955: Probe(commune, lost: _chance.Next(4) == 0); break;
            case < 965: if (commune.Forwarder is null) Start(commune); else Do("connector crashed", () => Crash(commune)); break;
            case < 977: if (_hub is null) StartHub(); else Do("hub crashed", CrashHub); break;
            case < 980: Do("broker emptied", _queue.Clear); break;
            case < 982: Do("receipts lost", _receipts.Clear); break;
            case < 988: commune.Backup = commune.Disk.Copy(); break;
            case < 990: LoseJournal(commune); break;
            case < 992: _backups.Add((_now, _store.Copy())); break;
            case < 994: RestoreHub(); break;
            default: Do("an hour passed", () => _now += TimeSpan.FromHours(1)); break;
        }
    }

    private void Accept(Commune commune)
    {
        // The connector takes no requests while it does not run.
        if (commune.Forwarder is null) return;
        for (var count = _chance.Next(1, 5); count > 0; count--) commune.Accept(isRefused: _chance.Next(60) == 0);
    }

    private void Forward(Commune commune)
    {
        if (commune.Forwarder?.Next is not { } next) return;
        var facts = commune.Disk.Events.Where(stored => stored.Key >= next).Take(_chance.Next(1, 6)).Select(stored => stored.Value).ToList();
        if (!commune.Disk.Events.ContainsKey(next)) throw new BrokenPromiseException($"{commune.Code}: position {next} was deleted before the hub had it");
        commune.Forwarder.Sent(next + facts.Count - 1);
        commune.InFlight.Add(Put(commune, next, facts));
    }

    private void Confirm(Commune commune, Message message)
    {
        commune.InFlight.Remove(message);
        var chance = _chance.Next(20);
        if (chance < 17 && chance != 13) Enqueue(commune, message);
        if (chance == 14) Do("message doubled", () => Enqueue(commune, message));
        if (chance == 13) Do("message lost", () => { });
        // The last two were taken without the connector being told, or not taken.
        if (chance < 15) commune.Forwarder?.Confirmed(message.First);
        else Do("message refused", () => commune.Forwarder?.Failed(message.First));
    }

    private void Deliver(Message message)
    {
        if (_hub is null || _hub.Unacknowledged.Count >= Prefetch) return;
        _queue.Remove(message);
        var before = message.Before;
        var events = new IncomingEvent[message.Facts.Count];
        for (var index = 0; index < events.Length; index++)
        {
            var read = message.Facts[index].Checked;
            events[index] = new(message.From.Code, message.Journal, message.First + index, read.EventId, before, default, read, null);
            before = read.EventId;
        }

        var arrival = new Arrival(new JournalSegment(message.From.Code, message.Journal, message.First, message.Before, []), events);
        _hub.Arrived.Add(arrival);
        _hub.Unacknowledged.Add(arrival, message);
    }

    private void Ingest(bool mayFail)
    {
        if (_hub is null || (_hub.Arrived.Count == 0 && _hub.Receiver.Held.Count == 0)) return;
        if (mayFail && _chance.Next(15) == 0) return;
        List<Arrival> together = [.. _hub.Receiver.Held, .. _hub.Arrived];
        _hub.Arrived.Clear();
        var ends = new Dictionary<(string, Guid), JournalEnd>();
        var work = new IncomingEvents(together.SelectMany(arrival => arrival.Events));
        while (!work.Done)
        {
            if (mayFail && _chance.Next(40) == 0)
            {
                // The store has it, or a part of it, and nobody knows.
                Do("hub crashed while storing", CrashHub);
                return;
            }

            if (!_store.TryStore(work.Run, _rules, out var now))
            {
                work.Narrow("refused");
                continue;
            }

            Receiver.Merge(ends, now);
            work.Stored();
        }

        var settlement = _hub.Receiver.Settle(together, ends, _now);
        foreach (var arrival in settlement.Ended) _hub.Unacknowledged.Remove(arrival);
        foreach (var receipt in settlement.Receipts) Answer(receipt);
    }

    private void Hear(int index, bool lost)
    {
        var (commune, receipt) = _receipts[index];
        _receipts.RemoveAt(index);
        if (lost || commune.Forwarder is not { } forwarder || receipt.Journal != commune.Disk.Journal) return;
        var forked = _rules.MindsForks && receipt.LastEvent is { } theirs
            && commune.Disk.Events.TryGetValue(receipt.ReceivedThrough, out var ours) && ours.Checked.EventId != theirs;
        forwarder.Heard(receipt.ReceivedThrough, receipt.Resend, forked, _now);
        if (receipt.Resend) Do("resend asked for", () => { });
        if (forwarder.IsOlderCopy)
        {
            Do("journal begun anew", () => BeginAnew(commune));
            return;
        }

        // Written without waiting for the disk: a crash may leave an older note, until something else is written.
        // Not so that the hub has less: what was thought to be received is not.
        var note = (forwarder.Published, forwarder.Received);
        if (note.Received < commune.Disk.Note.Received) commune.Disk.Lower(note);
        if (_chance.Next(2) == 0) commune.Disk.Note = note;
        if (_chance.Next(4) > 0) return;
        commune.Disk.Note = note;
        Prune(commune, forwarder.Received);
    }

    private void Probe(Commune commune, bool lost)
    {
        if (commune.Forwarder?.Probe(_now, s_options.Patience, s_options.Silence) is not { } position) return;
        if (lost || !commune.Disk.Events.TryGetValue(position, out var fact)) return;
        Do("probed", () => Enqueue(commune, Put(commune, position, [fact])));
    }

    private static void Start(Commune commune, DateTimeOffset now) =>
        commune.Forwarder = new ForwarderState(commune.Disk.Last, commune.Disk.Note.Published, commune.Disk.Note.Received, now);

    private void Start(Commune commune) => Start(commune, _now);

    private void Crash(Commune commune)
    {
        commune.Forwarder = null;
        foreach (var message in commune.InFlight.Where(_ => _chance.Next(2) == 0)) Enqueue(commune, message);
        commune.InFlight.Clear();
    }

    private void BeginAnew(Commune commune)
    {
        var facts = commune.Disk.Events.Values.ToList();
        commune.Disk = NewDisk();
        commune.InFlight.Clear();
        commune.Highest = 0;
        foreach (var fact in facts) commune.Disk.Append(fact);
        Start(commune);
    }

    private void StartHub()
    {
        _hub = new Node();
        foreach (var (journal, end) in _store.Ends) Answer(new JournalReceipt(journal.Commune, journal.Journal, end.Through, LastEvent: end.LastEvent));
    }

    private void CrashHub()
    {
        // What was not acknowledged goes back to the queue.
        _queue.AddRange(_hub!.Unacknowledged.Values);
        _hub = null;
    }

    // Disk gone, or replaced by a copy. The commune's software sends again what the hub lacks of it, or more.
    private void LoseJournal(Commune commune)
    {
        var older = _chance.Next(3) > 0 ? commune.Backup : null;
        Do(older is null ? "journal lost" : "journal restored from an older copy", () => { });
        Crash(commune);
        commune.HasLostItsJournal = true;
        commune.Disk = older?.Copy() ?? NewDisk();
        commune.Highest = 0;
        var lacking = commune.Accepted.FindIndex(fact => !_store.Has(fact) && !commune.Disk.Events.ContainsValue(fact));
        if (lacking >= 0)
        {
            foreach (var fact in commune.Accepted.Skip(_chance.Next(lacking + 1))) commune.Disk.Append(fact);
        }

        Start(commune);
    }

    private void RestoreHub()
    {
        // Not from a backup that lacks what only the hub had left, after a journal was lost.
        var candidates = _backups.Where(backup => _now - backup.At < s_oldestBackup && _communes.All(commune => commune.Accepted.All(fact =>
            backup.Store.Has(fact) || !_store.Has(fact) || commune.Disk.Events.ContainsValue(fact)))).ToList();
        if (candidates.Count == 0) return;
        if (_hub is not null) CrashHub();
        _store = Any(candidates).Store.Copy();
        Do("hub restored from a backup", StartHub);
    }

    private void Prune(Commune commune, long received)
    {
        var marks = commune.Disk.Marks;
        var old = marks.Where(mark => mark.At <= _now - s_retention).Select(mark => mark.Received).DefaultIfEmpty().Max();
        var through = _rules.KeepsForRetention ? Math.Min(old, received) : received;
        foreach (var (position, fact) in commune.Disk.Events.Where(stored => stored.Key <= through && stored.Key < commune.Disk.Last).ToList())
        {
            if (!_store.Has(fact) || _backups.Any(backup => _now - backup.At < s_oldestBackup && !backup.Store.Has(fact)))
                throw new BrokenPromiseException($"{commune.Code}: position {position} is deleted though the hub, or a backup of it, lacks it");
            commune.Disk.Events.Remove(position);
            Do("event deleted", () => { });
        }

        marks.Add((_now, received));
    }

    // --- a time without faults -------------------------------------------------------------------------------------------

    private void Settle()
    {
        foreach (var commune in _communes)
        {
            while (commune.Forwarder!.Next is not null) Forward(commune);
            foreach (var message in commune.InFlight.ToList())
            {
                commune.InFlight.Remove(message);
                Enqueue(commune, message);
                commune.Forwarder!.Confirmed(message.First);
            }

            Probe(commune, lost: false);
        }

        while (_queue.Count > 0 && _hub!.Unacknowledged.Count < Prefetch) Deliver(_queue[0]);
        Ingest(mayFail: false);
        while (_receipts.Count > 0) Hear(0, lost: false);
    }

    private bool IsComplete() => _communes.TrueForAll(commune =>
        commune.Accepted.TrueForAll(_store.Has) && commune.Forwarder!.Received == commune.Disk.Last && !commune.Forwarder.IsOlderCopy);

    private void CheckStore()
    {
        _store.CheckOrder();
        foreach (var commune in _communes)
        {
            // A refused event may have been put aside once under each journal that brought it.
            var stored = _store.Stored.Where(entry => entry.Commune == commune.Code).Select(entry => entry.EventId).ToList();
            var expected = commune.Accepted.Where(fact => !fact.IsRefused).Select(fact => fact.Checked.EventId).ToList();
            if (stored.Count != expected.Count) throw new BrokenPromiseException($"{commune.Code}: the store has events doubled");
            // A commune that lost its journal may have sent its events again in another order.
            if (!commune.HasLostItsJournal && !stored.SequenceEqual(expected)) throw new BrokenPromiseException($"{commune.Code}: the store has its events in another order");
            if (_store.Quarantined.Any(id => commune.Accepted.Exists(fact => fact.Checked.EventId == id && !fact.IsRefused)))
                throw new BrokenPromiseException($"{commune.Code}: a good event is in quarantine");
        }
    }

    private string Describe() => string.Join("; ", _communes.Select(commune =>
        $"{commune.Code}/{commune.Disk.Journal:N}"[..10] + $" accepted {commune.Accepted.Count}, journal {commune.Disk.Events.Keys.FirstOrDefault()}-{commune.Disk.Last}, "
        + $"received {commune.Forwarder?.Received}, stored {commune.Accepted.Count(_store.Has)}"));

    // --- small things ----------------------------------------------------------------------------------------------------

    private static Message Put(Commune commune, long first, IReadOnlyList<Fact> facts) =>
        new(commune, commune.Disk.Journal, first, commune.Disk.Events.TryGetValue(first - 1, out var before) ? before.Checked.EventId : null, facts);

    private void Enqueue(Commune commune, Message message)
    {
        if (!_rules.Resends && message.Journal == commune.Disk.Journal && message.First <= commune.Highest) return;
        if (message.Journal == commune.Disk.Journal) commune.Highest = Math.Max(commune.Highest, message.First + message.Facts.Count - 1);
        _queue.Add(message);
    }

    // A receipt may go in place of one that was not said yet.
    private void Answer(JournalReceipt receipt)
    {
        var unsaid = _receipts.FindLastIndex(waiting => waiting.Receipt.Journal == receipt.Journal);
        var commune = _communes.Single(commune => commune.Code == receipt.Commune);
        if (unsaid >= 0 && _chance.Next(2) == 0) _receipts[unsaid] = (commune, Receiver.Merge(_receipts[unsaid].Receipt, receipt));
        else _receipts.Add((commune, receipt));
    }

    private Disk NewDisk()
    {
        var id = new byte[16];
        _chance.NextBytes(id);
        return new Disk(new Guid(id));
    }

    private T Any<T>(List<T> from) => from[_chance.Next(from.Count)];

    private void Do(string what, Action action)
    {
        Happened[what] = Happened.GetValueOrDefault(what) + 1;
        History?.Add($"{_now - DateTimeOffset.UnixEpoch:d\\.hh\\:mm\\:ss} {what}: {Describe()}; hub: {string.Join(", ", _store.Ends.Select(end => $"{end.Key.Commune}/{end.Key.Journal:N}"[..10] + $" {end.Value.Through}"))}");
        action();
    }

    /// <summary>What a running hub has in memory.</summary>
    private sealed class Node
    {
        public Receiver Receiver { get; } = new();

        public List<Arrival> Arrived { get; } = [];

        public Dictionary<Arrival, Message> Unacknowledged { get; } = new(ReferenceEqualityComparer.Instance);
    }
}
