namespace Intercommunalite.Contracts.Client;

/// <summary>
/// The cursor of the last event that was dealt with, in a file. The file is replaced as a whole and is on the disk when it is: a crash
/// leaves one cursor or the other. Of events that come at once not each is written: after a kill those of the last moments come again,
/// none is left out. One process at a time may use it.
/// </summary>
public sealed class CursorFile : IDisposable
{
    // Writing through to a disk takes milliseconds; who catches up takes thousands of events a second.
    private static readonly TimeSpan s_between = TimeSpan.FromMilliseconds(100);

    private readonly string _path;
    private string _written;
    private long _since;

    private CursorFile(string path, string value) => (_path, Value, _written) = (path, value, value);

    /// <summary>The cursor; empty as long as there is none.</summary>
    public string Value { get; private set; }

    /// <summary>The cursor in a file, which need not exist yet; its folder must.</summary>
    public static CursorFile Open(string path)
    {
        var whole = Path.GetFullPath(path);
        return new(whole, File.Exists(whole) ? File.ReadAllText(whole).Trim() : "");
    }

    /// <summary>Keeps a cursor, once everything up to it is dealt with.</summary>
    public void Keep(string cursor)
    {
        Value = cursor;
        if (_since == 0 || TimeProvider.System.GetElapsedTime(_since) >= s_between) Write();
    }

    /// <summary>Writes what was not written yet.</summary>
    public void Dispose() => Write();

    private void Write()
    {
        if (Value == _written) return;
        using (var file = new FileStream(_path + ".new", FileMode.Create, FileAccess.Write))
        {
            file.Write(System.Text.Encoding.ASCII.GetBytes(Value + "\n"));
            file.Flush(flushToDisk: true);
        }

        File.Move(_path + ".new", _path, overwrite: true);
        (_written, _since) = (Value, TimeProvider.System.GetTimestamp());
    }
}
