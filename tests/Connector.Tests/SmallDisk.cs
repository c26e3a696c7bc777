using System.Diagnostics;

namespace Intercommunalite.Connector.Tests;

/// <summary>A file system of its own that is soon full, in memory. Only root may mount one; see <see cref="SmallDiskFactAttribute"/>.</summary>
internal sealed class SmallDisk : IDisposable
{
    private readonly TemporaryFolder _mountPoint = new();
    private readonly string _filler;

    public SmallDisk(int mebibytes)
    {
        if (Run("mount", "-t", "tmpfs", "-o", $"size={mebibytes}m", "tmpfs", FullPath) is { } failure)
        {
            _mountPoint.Dispose();
            throw new InvalidOperationException(failure);
        }

        Directory.CreateDirectory(FullPath);
        _filler = Path.Combine(FullPath, "filler");
    }

    public string FullPath => _mountPoint.FullPath;

    /// <summary>Why no file system can be mounted here; null when it can.</summary>
    public static string? Missing { get; } = TryOnce();

    /// <summary>Takes all space but so much.</summary>
    public void Fill(long butBytes = 0)
    {
        using var file = new FileStream(_filler, FileMode.Append, FileAccess.Write, FileShare.None, bufferSize: 0);
        var chunk = new byte[4096];
        try
        {
            while (new DriveInfo(FullPath).AvailableFreeSpace > butBytes) file.Write(chunk);
        }
        catch (IOException)
        {
            // Full.
        }
    }

    /// <summary>Gives the space back.</summary>
    public void Empty() => File.Delete(_filler);

    public void Dispose()
    {
        // Lazily: pooled connections may have files open still.
        if (Run("umount", "-l", FullPath) is { } failure) throw new InvalidOperationException(failure);
        _mountPoint.Dispose();
    }

    private static string? TryOnce()
    {
        try
        {
            new SmallDisk(1).Dispose();
            return null;
        }
        catch (Exception e) when (e is InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            return $"no small disk can be mounted here: {e.Message}";
        }
    }

    private static string? Run(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
        var errors = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? null : $"{program}: {errors.Trim()}";
    }
}

/// <summary>A test on a disk that fills up; skipped, with the reason, where none may be mounted.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class SmallDiskFactAttribute : FactAttribute
{
    public SmallDiskFactAttribute() => Skip = SmallDisk.Missing;
}
