using System.Buffers.Binary;

namespace StableDiffusion.Ilgpu.Text;

/// <summary>
/// Reads CLIP's own table, a resource of the library made from <c>weights/clip-tokenizer/merges.bin</c>: the ids of the left and the right
/// token of every merge, from which the vocabulary follows.
/// </summary>
internal static class BuiltInTable
{
    private const string Resource = "clip-tokenizer/merges.bin";

    // Ids: 256 letters, 256 letters that end a word, the merges, the two special tokens.
    private const int FirstLastLetter = 256, FirstMerge = 512;

    public static BytePairTable Read()
    {
        byte[] pairs = Embedded.Read(Resource);
        int mergeCount = pairs.Length / 4;
        var merges = new MergeIndex(mergeCount);
        for (int rank = 0; rank < mergeCount; rank++)
        {
            var (left, right) = Pair(pairs, rank);
            merges.TryAdd(left, right, FirstMerge + rank);
        }

        var letters = new int[256];
        var lastLetters = new int[256];
        for (int id = 0; id < 256; id++)
        {
            letters[ByteLetters.InOrderOfIds[id]] = id;
            lastLetters[ByteLetters.InOrderOfIds[id]] = FirstLastLetter + id;
        }

        int startOfText = FirstMerge + mergeCount, endOfText = startOfText + 1;
        return new BytePairTable(endOfText + 1, merges, token => Find(token, pairs))
        {
            StartOfText = startOfText,
            EndOfText = endOfText,
            Letters = letters,
            LastLetters = lastLetters,
        };
    }

    // Texts are made when they are asked for, which happens once in a run at most: for the padding token.
    private static int? Find(string token, byte[] pairs)
    {
        var texts = new List<string>();
        foreach (string end in (string[])["", BytePairTable.EndOfWord])
        {
            foreach (byte value in ByteLetters.InOrderOfIds)
            {
                texts.Add(ByteLetters.Letters[value] + end);
            }
        }

        for (int rank = 0; rank < pairs.Length / 4; rank++)
        {
            var (left, right) = Pair(pairs, rank);
            texts.Add(texts[left] + texts[right]);
        }

        texts.Add(BytePairTable.StartOfTextToken);
        texts.Add(BytePairTable.EndOfTextToken);
        return texts.IndexOf(token) is var id and >= 0 ? id : null;
    }

    private static (int Left, int Right) Pair(byte[] pairs, int rank)
    {
        var pair = pairs.AsSpan(4 * rank, 4);
        return (BinaryPrimitives.ReadUInt16LittleEndian(pair), BinaryPrimitives.ReadUInt16LittleEndian(pair[2..]));
    }
}
