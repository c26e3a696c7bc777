using System.Diagnostics;
using Xunit;

namespace Intercommunalite.Testing;

/// <summary>A file system of its own that is soon full, in memory. Only root may mount one; see <see cref="SmallDiskFactAttribute"/>.</summary>
public sealed class SmallDisk : IDisposable
{
    private readonly string _filler;

    /// <summary>Mounts it.</summary>
    /// <param name="mebibytes">Its size.</param>
    /// <param name="path">Where, a folder that is made if need be; null for a new temporary one. It is deleted at the end.</param>
    /// <exception cref="InvalidOperationException">It cannot be mounted.</exception>
    public SmallDisk(int mebibytes, string? path = null)
    {
        FullPath = path ?? Directory.CreateTempSubdirectory("small-disk-").FullName;
        Directory.CreateDirectory(FullPath);
        if (Run("mount", "-t", "tmpfs", "-o", $"size={mebibytes}m", "tmpfs", FullPath) is { } failure)
        {
            Directory.Delete(FullPath);
            throw new InvalidOperationException(failure);
        }

        _filler = Path.Combine(FullPath, "filler");
    }

    /// <summary>Where it is mounted.</summary>
    public string FullPath { get; }

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

    /// <inheritdoc/>
    public void Dispose()
    {
        // Lazily: pooled connections may have files open still.
        if (Run("umount", "-l", FullPath) is { } failure) throw new InvalidOperationException(failure);
        Directory.Delete(FullPath);
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
public sealed class SmallDiskFactAttribute : FactAttribute
{
    /// <summary>Skips the test where none may be mounted.</summary>
    public SmallDiskFactAttribute() => Skip = SmallDisk.Missing;
}
