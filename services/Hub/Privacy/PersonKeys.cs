namespace Intercommunalite.Hub.Privacy;

/// <summary>
/// Keys of the persons that were met last, by their pseudonyms, so that not every event asks the vault. All of them are dropped
/// when anywhere a person was forgotten (<see cref="Forgetting"/>). Two halves: when the younger one is full, the older one goes.
/// </summary>
/// <param name="half">Most keys in each half.</param>
internal sealed class PersonKeys(int half)
{
    private readonly Lock _lock = new();
    private Dictionary<Guid, DataKey> _younger = [];
    private Dictionary<Guid, DataKey> _older = [];
    private long _epoch = -1;

    /// <summary>Takes the keys of pseudonyms as far as they are here; what is from another epoch is dropped before.</summary>
    /// <returns>Those that are not here.</returns>
    public List<Guid> Take(long epoch, IEnumerable<Guid> pseudonyms, Dictionary<Guid, DataKey> into)
    {
        var missing = new List<Guid>();
        lock (_lock)
        {
            if (_epoch != epoch)
            {
                _younger.Clear();
                _older.Clear();
                _epoch = epoch;
            }

            foreach (var pseudonym in pseudonyms)
            {
                if (into.ContainsKey(pseudonym)) continue;
                if (_younger.TryGetValue(pseudonym, out var key)) into[pseudonym] = key;
                else if (_older.TryGetValue(pseudonym, out key)) Keep(pseudonym, into[pseudonym] = key);
                else missing.Add(pseudonym);
            }
        }

        return missing;
    }

    /// <summary>Keeps keys, unless the epoch has changed meanwhile.</summary>
    public void Keep(long epoch, IEnumerable<KeyValuePair<Guid, DataKey>> keys)
    {
        lock (_lock)
        {
            if (_epoch != epoch) return;
            foreach (var (pseudonym, key) in keys) Keep(pseudonym, key);
        }
    }

    private void Keep(Guid pseudonym, DataKey key)
    {
        if (_younger.Count >= half) (_older, _younger) = (_younger, []);
        _younger[pseudonym] = key;
    }
}
