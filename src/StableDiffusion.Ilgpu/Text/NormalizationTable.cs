using System.Buffers.Binary;

namespace StableDiffusion.Ilgpu.Text;

/// <summary>
/// Unicode's canonical decompositions, compositions and combining classes, without Hangul syllables; read when first asked for from a
/// resource of the library, whose form <c>Text/Normalization/README.md</c> describes. Characters are code points.
/// </summary>
internal sealed class NormalizationTable
{
    private const string Resource = "normalization.bin";

    private readonly Dictionary<int, (int First, int Second)> decompositions = [];
    private readonly Dictionary<(int First, int Second), int> compositions = [];
    private readonly Dictionary<int, int> combiningClasses = [];

    private NormalizationTable()
    {
        byte[] bytes = Embedded.Read(Resource);
        int position = 0;
        int Next() => BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(4 * position++));

        int composites = Next(), others = Next(), runs = Next();
        for (int i = 0; i < composites + others; i++)
        {
            int character = Next();
            var parts = (First: Next(), Second: Next());
            decompositions.Add(character, parts);
            if (i < composites)
            {
                compositions.Add(parts, character);
            }
        }

        for (int i = 0; i < runs; i++)
        {
            int start = Next(), count = Next(), combining = Next();
            for (int code = start; code < start + count; code++)
            {
                combiningClasses.Add(code, combining);
            }
        }
    }

    public static NormalizationTable Instance { get; } = new();

    /// <summary>One step of the character's decomposition, the second part 0 where there is only one; null where it has none.</summary>
    public (int First, int Second)? Decompose(int code) => decompositions.TryGetValue(code, out var parts) ? parts : null;

    /// <summary>The character that the two compose to; null where there is none.</summary>
    public int? Compose(int first, int second) => compositions.TryGetValue((first, second), out int code) ? code : null;

    public int CombiningClass(int code) => combiningClasses.GetValueOrDefault(code);
}
