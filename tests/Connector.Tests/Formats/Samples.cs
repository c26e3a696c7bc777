using System.Text;
using Intercommunalite.Connector.Tests.Formats.Concerto;
using Intercommunalite.Connector.Tests.Formats.InseeDeaths;
using Intercommunalite.Connector.Tests.Formats.Onde;
using Intercommunalite.Connector.Tests.Formats.PayFip;
using Intercommunalite.Connector.Tests.Formats.PesRetour;

namespace Intercommunalite.Connector.Tests.Formats;

/// <summary>Sound files of every format, small, of persons who never were.</summary>
internal static class Samples
{
    /// <summary>The files of a format.</summary>
    /// <exception cref="NotSupportedException">There is none yet: add one, so that whatever is tried on all formats is tried on it.</exception>
    public static IReadOnlyList<byte[]> Of(string format) => format switch
    {
        "cloudevents-jsonl" => [Encoding.UTF8.GetBytes($"{SampleEvents.Json("1")}\n{SampleEvents.Json("2")}\n")],
        "insee-deaths" =>
        [
            Encoding.UTF8.GetBytes($"{Death.Header}\n{new Death().Csv}\n{new Death(Name: "DURAND*JEAN/", DeathDate: "19700000").Csv}\n"),
            Encoding.Latin1.GetBytes($"{new Death().FixedWidth}\n{new Death(Name: "DURAND*RENÉ/").FixedWidth}\n"),
        ],
        "payfip" => [.. PayFipSamples.Files.Select(Encoding.UTF8.GetBytes)],
        "pes-retour" =>
        [
            Encoding.UTF8.GetBytes(new Pes { Collections = Pes.Collection("2026-04-01", "10", "77") + Pes.Collection("2026-04-02", "10") }.Text),
        ],
        "onde-pupils" => [Encoding.UTF8.GetBytes(OndePupil.File(OndePupil.ClassOf(2)))],
        "concerto-enrolments" => [Encoding.UTF8.GetBytes(ConcertoPupil.File(new ConcertoPupil(), new ConcertoPupil("Léo")))],
        _ => throw new NotSupportedException($"No sample of {format}."),
    };
}
