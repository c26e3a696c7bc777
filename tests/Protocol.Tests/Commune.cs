using System.Text.Json;
using Intercommunalite.Connector.Forwarding;
using Intercommunalite.Contracts;
using Intercommunalite.Contracts.Schools;

namespace Intercommunalite.Protocol.Tests;

/// <summary>An event of the simulation.</summary>
/// <param name="Number">1, 2, 3, … in the order in which the commune's software sent them.</param>
/// <param name="Checked">The event, read.</param>
/// <param name="IsRefused">Whether the store refuses it, for whatever reason.</param>
internal sealed record Fact(int Number, CheckedEvent Checked, bool IsRefused);

/// <summary>What is on the disk of a connector for a commune.</summary>
internal sealed class Disk(Guid journal)
{
    public Guid Journal => journal;

    public SortedDictionary<long, Fact> Events { get; private init; } = [];

    public List<(DateTimeOffset At, long Received)> Marks { get; private init; } = [];

    public (long Published, long Received) Note { get; set; }

    public long Last => Events.Count == 0 ? 0 : Events.Keys.Last();

    /// <summary>Journal and notes as a backup would keep them.</summary>
    public Disk Copy() => new(journal) { Events = new(Events), Marks = [.. Marks], Note = Note };

    /// <summary>Notes that the hub has less than it had.</summary>
    public void Lower((long Published, long Received) note)
    {
        Note = note;
        for (var index = 0; index < Marks.Count; index++) Marks[index] = (Marks[index].At, Math.Min(Marks[index].Received, note.Received));
    }

    /// <summary>Writes an event at the next position unless it is there.</summary>
    public void Append(Fact fact)
    {
        if (!Events.ContainsValue(fact)) Events.Add(Last + 1, fact);
    }
}

/// <summary>A commune: its software, which remembers what it sent, and its connector with its disk.</summary>
internal sealed class Commune(string code, Disk disk)
{
    /// <summary>Subject of an event that the store refuses.</summary>
    public const string Refused = "refused";

    private static readonly JsonElement s_noData = JsonElement.Parse("{}");
    private static readonly EventType s_type = Catalogue.All.Single(type => type.Record == typeof(SchoolDeclared));
    private readonly EventSource _source = new(CommuneCode.Parse(code), "simulation");

    public string Code => code;

    /// <summary>All that was ever accepted, in order.</summary>
    public List<Fact> Accepted { get; } = [];

    public Disk Disk { get; set; } = disk;

    /// <summary>Whether the disk was ever lost, or replaced by an older copy.</summary>
    public bool HasLostItsJournal { get; set; }

    /// <summary>A backup of the disk; null when none was made.</summary>
    public Disk? Backup { get; set; }

    /// <summary>The connector's forwarder; null while it does not run.</summary>
    public ForwarderState? Forwarder { get; set; }

    /// <summary>Messages that wait for the broker's confirm.</summary>
    public List<Message> InFlight { get; } = [];

    /// <summary>Highest position ever published of this journal.</summary>
    public long Highest { get; set; }

    /// <summary>An event of the commune's software that the connector accepts.</summary>
    public void Accept(bool isRefused)
    {
        var number = Accepted.Count + 1;
        var envelope = new CloudEvent("1.0", $"{number}", _source, s_type.Name, isRefused ? Refused : $"{number}", DateTimeOffset.UnixEpoch, s_noData);
        var fact = new Fact(number, new CheckedEvent(envelope, s_type, null!), isRefused);
        Accepted.Add(fact);
        Disk.Append(fact);
        Forwarder?.Appended(Disk.Last);
    }
}
