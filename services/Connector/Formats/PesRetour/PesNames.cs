using System.Xml;

namespace Intercommunalite.Connector.Formats.PesRetour;

/// <summary>
/// The names met in a file. A PES has some hundred; a reader keeps each that it meets, so a file that goes on inventing new ones
/// would fill the memory.
/// </summary>
internal sealed class PesNames : XmlNameTable
{
    private const int MaxNames = 2_000;

    private static readonly Reason s_tooMany = new(
        $"Plus de {MaxNames} noms de balises différents : ce n'est pas un PES.", $"More than {MaxNames} different names of tags: this is no PES.", Advice.OtherFile);

    private readonly NameTable _names = new();
    private int _count;

    public override string Add(string array) => _names.Get(array) ?? Counted(_names.Add(array));

    public override string Add(char[] array, int offset, int length) => _names.Get(array, offset, length) ?? Counted(_names.Add(array, offset, length));

    public override string? Get(string array) => _names.Get(array);

    public override string? Get(char[] array, int offset, int length) => _names.Get(array, offset, length);

    private string Counted(string name) => ++_count <= MaxNames ? name : throw new FileRefusedException(s_tooMany);
}
