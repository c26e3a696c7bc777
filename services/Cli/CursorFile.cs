namespace Intercommunalite.Cli;

/// <summary>The cursor of the last event printed, kept in a file when there is one.</summary>
internal sealed class CursorFile
{
    private readonly string? _path;

    private CursorFile(string? path, string value) => (_path, Value) = (path, value);

    /// <summary>The cursor; empty for the beginning.</summary>
    public string Value { get; private set; }

    /// <summary>The cursor in the file; <paramref name="first"/> as long as there is none.</summary>
    public static CursorFile Open(FileInfo? file, string? first) =>
        new(file?.FullName, file is { Exists: true } ? File.ReadAllText(file.FullName).Trim() : first ?? "");

    /// <summary>Keeps a cursor. A kill in between leaves the one before: what follows it is then printed again, nothing is left out.</summary>
    public void Keep(string cursor)
    {
        if (cursor == Value) return;
        Value = cursor;
        if (_path is null) return;
        File.WriteAllText(_path + ".new", cursor + "\n");
        File.Move(_path + ".new", _path, overwrite: true);
    }
}
