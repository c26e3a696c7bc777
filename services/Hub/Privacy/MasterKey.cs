using System.Security.Cryptography;
using System.Text;

namespace Intercommunalite.Hub.Privacy;

/// <summary>
/// Wraps keys, so that none is stored in the clear. The hub brings <see cref="MasterKey"/>; a key management service takes its
/// place where the room is registered. It is asked for every new person and every key read: one that answers over the network
/// wraps a key of its own there and works with that one here.
/// </summary>
internal interface IKeyWrapping
{
    /// <summary>Wraps a key, or another short secret, with the newest master key.</summary>
    byte[] Wrap(ReadOnlySpan<byte> key);

    /// <summary>Gives a wrapped key back.</summary>
    /// <exception cref="CryptographicException">Its master key is not there, or it is not as it was wrapped.</exception>
    byte[] Unwrap(ReadOnlySpan<byte> wrapped);

    /// <summary>Whether a key is wrapped with the newest master key.</summary>
    bool IsNewest(ReadOnlySpan<byte> wrapped);

    /// <summary>
    /// Secrets for a purpose, always the same: one for each master key, the newest first (HKDF, RFC 5869; a service may compute a MAC).
    /// </summary>
    /// <param name="purpose">What they are for; another purpose gets others.</param>
    /// <param name="length">Their length in bytes.</param>
    IReadOnlyList<byte[]> Derive(string purpose, int length);
}

/// <summary>What another room keeps wrapped by the master key; wrapped anew at the end of the keys of persons.</summary>
/// <param name="RewrapAsync">Wraps it with the newest master key; how many were wrapped anew.</param>
internal sealed record WrappedElsewhere(Func<IServiceProvider, CancellationToken, Task<int>> RewrapAsync);

/// <summary>
/// The master keys: AES-256-GCM. What is wrapped carries the id of its master key, by which it is unwrapped after the master
/// key was changed. Form: 1 (version), 8 bytes id, 12 bytes nonce, the key encrypted, 16 bytes tag.
/// </summary>
internal sealed class MasterKey : IKeyWrapping
{
    private const byte Version = 1;
    private const int IdLength = 8;
    private const int HeaderLength = 1 + IdLength;
    private const int KeyLength = 32;

    private const string WhatToDo =
        "Make one with: (umask 077; head -c32 /dev/urandom | base64 > master.key), and keep a copy of it in another place: without it the personal data cannot be read.";

    private readonly (byte[] Id, byte[] Key)[] _keys;

    private MasterKey(string text, string setting, string? warning)
    {
        _keys = [.. text.Split('\n', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries).Select((line, index) => Read(line, index, setting))];
        if (_keys.Length == 0) throw new InvalidOperationException($"The setting {setting} holds no key: one a line is expected, 32 bytes in base64, the newest first. {WhatToDo}");
        Warning = warning;
    }

    /// <summary>What is not as it should be with the file; null when it is.</summary>
    public string? Warning { get; }

    /// <summary>Reads the keys from the settings.</summary>
    /// <exception cref="InvalidOperationException">There is none, or none that can be used; the message says what to do, and holds nothing of a key.</exception>
    public static MasterKey Read(IConfiguration configuration)
    {
        if (configuration["Privacy:MasterKeyFile"] is { Length: > 0 } path)
        {
            try
            {
                return new(File.ReadAllText(path), "Privacy:MasterKeyFile", Readers(path));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new InvalidOperationException($"The file of the setting Privacy:MasterKeyFile cannot be read ({e.Message}). {WhatToDo}", e);
            }
        }

        return configuration["Privacy:MasterKey"] is { Length: > 0 } text
            ? new(text, "Privacy:MasterKey", null)
            : throw new InvalidOperationException(
                $"The setting Privacy:MasterKeyFile (a file with the master key, by which personal data is encrypted) is missing: give it as the environment variable Privacy__MasterKeyFile, or the key itself as Privacy__MasterKey. {WhatToDo}");
    }

    /// <inheritdoc/>
    public byte[] Wrap(ReadOnlySpan<byte> key)
    {
        var wrapped = new byte[HeaderLength + Sealed.Overhead + key.Length];
        wrapped[0] = Version;
        _keys[0].Id.CopyTo(wrapped, 1);
        Sealed.Seal(_keys[0].Key, key, wrapped.AsSpan(0, HeaderLength), wrapped.AsSpan(HeaderLength));
        return wrapped;
    }

    /// <inheritdoc/>
    public byte[] Unwrap(ReadOnlySpan<byte> wrapped)
    {
        if (wrapped.Length < HeaderLength + Sealed.Overhead || wrapped[0] != Version) throw new CryptographicException("This is no wrapped key.");
        foreach (var (id, key) in _keys)
        {
            if (wrapped.Slice(1, IdLength).SequenceEqual(id)) return Sealed.Open(key, wrapped[HeaderLength..], wrapped[..HeaderLength]);
        }

        throw new CryptographicException($"The master key {Convert.ToHexStringLower(wrapped.Slice(1, IdLength))} is not among those given: put its line back, behind the newest one.");
    }

    /// <inheritdoc/>
    public bool IsNewest(ReadOnlySpan<byte> wrapped) => wrapped.Length > HeaderLength && wrapped[0] == Version && wrapped.Slice(1, IdLength).SequenceEqual(_keys[0].Id);

    /// <inheritdoc/>
    public IReadOnlyList<byte[]> Derive(string purpose, int length) =>
        [.. _keys.Select(key => HKDF.DeriveKey(HashAlgorithmName.SHA256, key.Key, length, info: Encoding.UTF8.GetBytes(purpose)))];

    private static (byte[] Id, byte[] Key) Read(string line, int index, string setting)
    {
        var key = new byte[KeyLength + 1];
        if (!Convert.TryFromBase64String(line, key, out var length) || length != KeyLength)
            throw new InvalidOperationException($"Line {index + 1} of the setting {setting} is not a key: 32 bytes in base64 are expected. {WhatToDo}");
        return (HMACSHA256.HashData(key.AsSpan(0, KeyLength), "id of this master key"u8)[..IdLength], key[..KeyLength]);
    }

    private static string? Readers(string path) =>
        !OperatingSystem.IsWindows() && (File.GetUnixFileMode(path) & (UnixFileMode.OtherRead | UnixFileMode.OtherWrite)) != 0
            ? "Everybody on this machine can read or change the file of the master key (Privacy:MasterKeyFile): take that away with chmod o-rwx."
            : null;
}
