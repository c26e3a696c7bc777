using System.Collections;
using Intercommunalite.Connector.Journal;

namespace Intercommunalite.Connector.Formats;

/// <summary>
/// The stretch of a journal that came after the checkpoint of an import and before this run of it: there lies what an earlier run, cut off by
/// a crash, wrote. It is a duplicate to the journal, but accepted by this import, once. A bit for each position is all it takes.
/// </summary>
internal sealed class EarlierRun
{
    private readonly long _before;
    private readonly BitArray _met;

    /// <summary>Looks at a journal before this run writes to it.</summary>
    /// <param name="journal">The journal.</param>
    /// <param name="mark">How long it was at the checkpoint.</param>
    public EarlierRun(CommuneJournal journal, JournalMark mark)
    {
        _before = mark.Journal == journal.Id ? mark.Last : journal.Last;
        _met = new BitArray(checked((int)(journal.Last - _before)));
    }

    /// <summary>Whether this import brought the event, be it in this run or, met for the first time now, in an earlier one.</summary>
    public bool IsAccepted(Posted place)
    {
        if (!place.Duplicate) return true;
        var index = place.Position - _before - 1;
        if (index < 0 || index >= _met.Length || _met[(int)index]) return false;
        return _met[(int)index] = true;
    }
}
