using System.Text;
using System.Text.RegularExpressions;

namespace Intercommunalite.Connector.Formats.PesRetour;

/// <summary>
/// The text of an XML file in the encoding that it declares, as long as nothing in it would make a reader hold more than a little
/// of it: no DTD (hence no entities, whether bombs or files), no CDATA section, and a tag every megabyte. Where the text ends for
/// such a reason, the characters before it are read first, so that the place is known.
/// </summary>
internal sealed partial class PesText : TextReader
{
    private const int BufferSize = 64 * 1024;
    private const int MaxWithoutTag = 1024 * 1024;
    private const int MaxDeclarationLength = 512;

    private static readonly Advice s_saveAsUtf8 = new(
        "Enregistrez le fichier en UTF-8 ou en ISO-8859-1, avec la déclaration qui correspond, et renvoyez-le.",
        "Save the file in UTF-8 or ISO-8859-1, with the declaration that goes with it, and send it again.");

    private static readonly Advice s_askAgain = new(
        "Demandez de nouveau le fichier au Trésor ou au tiers de télétransmission ; n'envoyez pas celui-ci.",
        "Ask the Trésor or the transmission service for the file again; do not send this one.");

    private static readonly Reason s_dtd = new(
        "Le fichier contient une déclaration DOCTYPE, qu'un PES n'a jamais et par laquelle on peut faire lire d'autres fichiers ou saturer la mémoire.",
        "The file has a DOCTYPE declaration, which a PES never has and by which one can have other files read or the memory filled.",
        s_askAgain);

    private static readonly Reason s_cdata = new(
        "Le fichier contient une section CDATA, qu'un PES n'a jamais.", "The file has a CDATA section, which a PES never has.", s_askAgain);

    private static readonly Reason s_noTag = new(
        "Plus de 1 Mio sans aucune balise : ce n'est pas un PES, ou il est abîmé.", "More than 1 MiB without a tag: this is no PES, or it is damaged.", s_askAgain);

    private static readonly Reason s_utf16 = new("Le fichier est en UTF-16.", "The file is in UTF-16.", s_saveAsUtf8);

    private static readonly Reason s_notUtf8 = new(
        "Le fichier se dit en UTF-8 et ne l'est pas à cet endroit ; la suite n'a pas été lue.",
        "The file says that it is in UTF-8 and is not, here; what is behind was not read.",
        s_saveAsUtf8);

    private readonly Stream _file;
    private readonly CancellationToken _cancellation;
    private readonly Decoder _decoder;
    private readonly bool _isUtf8;
    private readonly byte[] _bytes = new byte[BufferSize];
    private readonly char[] _chars = new char[BufferSize + 2];
    private int _beginBytes;
    private int _endBytes;
    private int _beginChars;
    private int _endChars;

    // Characters since the last '<', how much of "<!" the text has ended with, and why it goes no further.
    private long _withoutTag;
    private int _begun;
    private Reason? _stop;

    /// <summary>Looks at the beginning of a file.</summary>
    /// <exception cref="FileRefusedException">It is empty, or in an encoding that is not read.</exception>
    public PesText(Stream file, CancellationToken cancellation)
    {
        (_file, _cancellation) = (file, cancellation);
        _endBytes = file.ReadAtLeast(_bytes, MaxDeclarationLength, throwOnEndOfStream: false);
        var start = _bytes.AsSpan(0, _endBytes);
        if (start.IndexOfAnyExcept(" \t\r\n\0"u8) < 0) throw new FileRefusedException(Reason.EmptyFile);
        if (start is [0xFF, 0xFE, ..] or [0xFE, 0xFF, ..] or [(byte)'<', 0, ..] or [0, (byte)'<', ..]) throw new FileRefusedException(s_utf16);
        var encoding = Encoding.UTF8;
        if (start is [0xEF, 0xBB, 0xBF, ..]) _beginBytes = 3;
        else encoding = Declared(Encoding.Latin1.GetString(start[..Math.Min(_endBytes, MaxDeclarationLength)]));
        _isUtf8 = encoding is UTF8Encoding;
        _decoder = encoding.GetDecoder();
    }

    /// <inheritdoc/>
    /// <exception cref="FileRefusedException">The text goes no further.</exception>
    public override int Read(char[] buffer, int index, int count)
    {
        if (_beginChars == _endChars)
        {
            if (_stop is null) Fill();
            if (_beginChars == _endChars && _stop is { } reason) throw new FileRefusedException(reason);
        }

        var read = Math.Min(count, _endChars - _beginChars);
        _chars.AsSpan(_beginChars, read).CopyTo(buffer.AsSpan(index, read));
        _beginChars += read;
        return read;
    }

    /// <inheritdoc/>
    public override int Read() => throw new NotSupportedException("Read by blocks.");

    /// <inheritdoc/>
    public override int Peek() => throw new NotSupportedException("Read by blocks.");

    // Decodes the next block; none is left when it is empty.
    private void Fill()
    {
        for (var (decoded, isAtEnd) = (0, false); decoded == 0 && !isAtEnd;)
        {
            _cancellation.ThrowIfCancellationRequested();
            if (_beginBytes == _endBytes) (_beginBytes, _endBytes) = (0, _file.Read(_bytes));
            isAtEnd = _endBytes == 0;
            _decoder.Convert(_bytes.AsSpan(_beginBytes, _endBytes - _beginBytes), _chars, isAtEnd, out var used, out decoded, out _);
            _beginBytes += used;
            (_beginChars, _endChars) = (0, Sound(_chars.AsSpan(0, decoded)));
        }
    }

    // How many of the characters may be read; what is behind them ends the text.
    private int Sound(ReadOnlySpan<char> text)
    {
        var sound = text.Length;
        // What cannot be decoded has become U+FFFD. A file that holds that character itself has lost one before it came here.
        if (_isUtf8 && text.IndexOf('\uFFFD') is >= 0 and var undecoded) (sound, _stop) = (undecoded, s_notUtf8);
        if (Declaration(text[..sound]) is >= 0 and var declaration)
        {
            (sound, _stop) = (declaration, text[declaration] == '[' ? s_cdata : s_dtd);
        }

        text = text[..sound];
        _begun = text switch { [.., '<', '!'] => 2, ['!'] when _begun == 1 => 2, [.., '<'] => 1, [] => _begun, _ => 0 };
        if (text.IndexOf('<') is >= 0 and var first)
        {
            if (_withoutTag + first > MaxWithoutTag) throw new FileRefusedException(s_noTag);
            _withoutTag = sound - text.LastIndexOf('<') - 1;
        }
        else if ((_withoutTag += sound) > MaxWithoutTag)
        {
            throw new FileRefusedException(s_noTag);
        }

        return sound;
    }

    // Place of the character behind the first "<!" that begins something else than a comment; -1 when there is none.
    private int Declaration(ReadOnlySpan<char> text)
    {
        var behind = _begun switch { 2 => 0, 1 when text is ['!', ..] => 1, _ => -1 };
        if (behind >= 0 && behind < text.Length && text[behind] != '-') return behind;
        for (var at = 0; text[at..].IndexOf("<!") is >= 0 and var found; at += found + 2)
        {
            behind = at + found + 2;
            if (behind < text.Length && text[behind] != '-') return behind;
        }

        return -1;
    }

    // ISO-8859-1 is read as Windows-1252, which has letters and signs where the other has control characters only.
    private static Encoding Declared(string start)
    {
        if (DeclaredEncoding().Match(start) is not { Success: true } match) return Encoding.UTF8;
        var name = match.Groups["name"].Value;
        return name.ToUpperInvariant() switch
        {
            "UTF-8" or "UTF8" or "US-ASCII" or "ASCII" => Encoding.UTF8,
            "ISO-8859-1" or "ISO8859-1" or "ISO_8859-1" or "LATIN1" or "WINDOWS-1252" or "CP1252" => CodePagesEncodingProvider.Instance.GetEncoding(1252)!,
            "ISO-8859-15" => CodePagesEncodingProvider.Instance.GetEncoding(28605)!,
            _ => throw new FileRefusedException(new(
                $"Le fichier se dit dans l'encodage {name}, qui n'est pas lu ; ISO-8859-1, ISO-8859-15, UTF-8 ou Windows-1252 attendu.",
                $"The file says that its encoding is {name}, which is not read; ISO-8859-1, ISO-8859-15, UTF-8 or Windows-1252 expected.",
                s_saveAsUtf8)),
        };
    }

    [GeneratedRegex("""^<\?xml\s[^>]*?\bencoding\s*=\s*["'](?<name>[A-Za-z][A-Za-z0-9._-]{0,39})["']""", RegexOptions.CultureInvariant)]
    private static partial Regex DeclaredEncoding();
}
