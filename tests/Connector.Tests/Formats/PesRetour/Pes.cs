using System.Text.Json;
using Intercommunalite.Connector.Formats;
using Intercommunalite.Contracts;
using Reader = Intercommunalite.Connector.Formats.PesRetour.PesRetour;

namespace Intercommunalite.Connector.Tests.Formats.PesRetour;

/// <summary>A PES Retour as the Trésor writes it, of titres that never were.</summary>
internal sealed record Pes
{
    public const string Commune = "35085";
    public const string Siren = "213500853";
    public const string OtherCommune = "35238";
    public const string Namespace = "http://www.minefi.gouv.fr/cp/helios/pes_v2/Rev0/retour";

    public string Encoding { get; init; } = "UTF-8";

    public string Kind { get; init; } = "PESRETOUR_REC";

    public string IdColl { get; init; } = $"{Siren}00017";

    public string Codes { get; init; } = """<CodCol V="315"/><CodBud V="00"/>""";

    public string Slip { get; init; } = """<Exer V="2026"/><IdBord V="44"/><DteBordEm V="2026-03-02"/><TypBord V="01"/>""";

    public string PieceBlock { get; init; } = """<IdPce V="1449"/><TypPce V="01"/><NatPce V="01"/>""";

    public string Info { get; init; } = """<IdLigne V="1"/><Nature V="7067"/><MtHT V="100.50"/><MtTVA V="0"/>""";

    public string Stated { get; init; } = "";

    public string Debtor { get; init; } = """<InfoTiers><Nom V="MARTIN"/><Prenom V="LEA"/></InfoTiers><Adresse><Adr2 V="1 RUE HAUTE"/><CP V="35270"/><Ville V="COMBOURG"/></Adresse>""";

    public string Collections { get; init; } = "";

    /// <summary>All of the slip behind its block; one piece of one line when not given.</summary>
    public string? Pieces { get; init; }

    public string Text => $"""
        <?xml version="1.0" encoding="{Encoding}"?>
        <x:PES_Retour xmlns:x="{Namespace}">
        <Enveloppe><Parametres><Version V="2"/><TypFic V="{Kind}"/></Parametres></Enveloppe>
        <EnTetePES><IdColl V="{IdColl}"/>{Codes}</EnTetePES>
        <PES_RecetteRetour><Bordereau><BlocBordereau>{Slip}</BlocBordereau>
        {Pieces ?? Piece}
        </Bordereau></PES_RecetteRetour>
        </x:PES_Retour>
        """;

    public string Piece => $"""
        <Piece><BlocPiece>{PieceBlock}</BlocPiece>
        <LigneDePiece><BlocLignePiece>
        <InfoLignePiece>{Info}</InfoLignePiece><InfoRecouvrement>{Stated}</InfoRecouvrement>
        </BlocLignePiece>
        <Tiers>{Debtor}</Tiers>
        {Collections}
        </LigneDePiece></Piece>
        """;

    /// <summary>A collection with a number of its own.</summary>
    public static string Collection(string date, string amount, string number) =>
        $"""<Recouvrement><TypFlux V="01"/><ModRegl V="03"/><DteReco V="{date}"/><IdEncaissement V="{number}"/><MtReco V="{amount}"/></Recouvrement>""";

    /// <summary>A collection as schema 5.3 has it.</summary>
    public static string Collection(string date, string amount) => $"""<Recouvrement><OrgEma V="1"/><DteReco V="{date}"/><MtReco V="{amount}"/></Recouvrement>""";

    /// <summary>Reads the file; every event is checked against the catalogue.</summary>
    public Task<List<FormatRecord>> ReadAsync(string? commune = Commune) => ReadAsync(System.Text.Encoding.UTF8.GetBytes(Text), commune);

    public static async Task<List<FormatRecord>> ReadAsync(byte[] bytes, string? commune = Commune)
    {
        using var file = new MemoryStream(bytes);
        var records = await ReadAsync(file, commune).ToListAsync();
        foreach (var read in records.OfType<EventRecord>())
        {
            var valid = EventReader.TryRead(
                JsonSerializer.SerializeToElement(read.Event, ContractJson.Options), read.Event.Source.Commune, out _, out var errors);
            Assert.True(valid, string.Join("; ", errors));
        }

        return records;
    }

    public static IAsyncEnumerable<FormatRecord> ReadAsync(Stream file, string? commune = Commune) =>
        new Reader().ReadAsync(file, SampleFiles.Context(commune), CancellationToken.None);

    /// <summary>Why the file is refused.</summary>
    public static async Task<Reason> RefusalAsync(byte[] bytes, string? commune = Commune) =>
        (await Assert.ThrowsAsync<FileRefusedException>(() => ReadAsync(bytes, commune))).Reason;

    public Task<Reason> RefusalAsync(string? commune = Commune) => RefusalAsync(System.Text.Encoding.UTF8.GetBytes(Text), commune);
}
