using System.Text;
using Intercommunalite.Connector.Formats;

namespace Intercommunalite.Connector.Tests.Formats.PesRetour;

[Collection(nameof(Alone))]
public sealed class PesMemoryTests
{
    [Fact]
    public async Task Given_a_file_of_many_megabytes_When_it_is_read_Then_the_memory_does_not_grow_with_it()
    {
        var pes = new Pes { Collections = Pes.Collection("2026-04-01", "10", "77") + "\n" + Pes.Collection("2026-04-02", "10") };
        const int Pieces = 50_000;
        // What is loaded once and stays is loaded before it is measured.
        await Pes.ReadAsync(Encoding.UTF8.GetBytes(pes.Text));
        using var file = new GeneratedStream(pes.Text[..pes.Text.IndexOf("<Piece>", StringComparison.Ordinal)], Encoding.UTF8.GetBytes(pes.Piece), Pieces, "</Bordereau></PES_RecetteRetour></x:PES_Retour>");
        var before = GC.GetTotalMemory(forceFullCollection: true);
        var (events, held) = (0L, new List<long>());

        await foreach (var record in Pes.ReadAsync(file))
        {
            Assert.IsType<EventRecord>(record);
            if (++events % 10_000 == 0) held.Add(GC.GetTotalMemory(forceFullCollection: true) - before);
        }

        Assert.Equal(Pieces * 3L, events);
        Assert.True(file.Given > 30_000_000, $"{file.Given}");
        // Of the whole process, in which something may be at work for a moment: what grew with the file would be more at half of it already.
        var usual = held.Order().ElementAt(held.Count / 2);
        Assert.True(usual < 4_000_000, $"{usual} bytes more were held than before.");
    }
}
