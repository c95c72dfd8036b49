namespace StableDiffusion.Ilgpu.Text;

/// <summary>
/// Splits weighted text of any length into chunks for a text encoder, by the rules of AUTOMATIC1111's web UI: where a chunk is full, what
/// follows a comma among its last 20 tokens moves to the next one; BREAK closes a chunk, even an empty one.
/// </summary>
/// <param name="tokenizer">The model's.</param>
/// <param name="places">Tokens that the text encoder takes, 77 in all published models.</param>
/// <param name="padding">The id behind the end of text.</param>
internal sealed class PromptChunks(ClipTokenizer tokenizer, int places, int padding)
{
    private const int MovedAtMost = 20;

    private readonly int? comma = tokenizer.Find(",</w>");

    /// <summary>Start and end take a place each.</summary>
    private readonly int room = places - 2;

    /// <summary>The chunk of a text without tokens.</summary>
    public PromptChunk Empty => Close([]);

    /// <summary>At least one chunk.</summary>
    public IReadOnlyList<PromptChunk> Split(IEnumerable<PromptPart> parts)
    {
        var chunks = new List<PromptChunk>();
        var tokens = new List<(int Id, double Weight)>();
        var lastComma = -1;
        foreach (var part in parts.Where(_ => room > 0))
        {
            if (part.IsBreak)
            {
                Next();
                continue;
            }

            foreach (var piece in tokenizer.EncodePieces(part.Text))
            {
                if (piece.Length == 1 && piece[0] == comma)
                {
                    lastComma = tokens.Count;
                }
                else if (tokens.Count == room && lastComma >= 0 && room - lastComma <= MovedAtMost)
                {
                    var moved = tokens[(lastComma + 1)..];
                    tokens.RemoveRange(lastComma + 1, moved.Count);
                    Next();
                    tokens.AddRange(moved);
                }

                // The vectors of a learned token stay together unless no chunk has room for them.
                foreach (var slice in piece.Chunk(room))
                {
                    if (tokens.Count + slice.Length > room)
                    {
                        Next();
                    }

                    tokens.AddRange(slice.Select(id => (id, part.Weight)));
                }
            }
        }

        if (tokens.Count > 0 || chunks.Count == 0)
        {
            Next();
        }

        return chunks;

        void Next()
        {
            chunks.Add(Close(tokens));
            tokens.Clear();
            lastComma = -1;
        }
    }

    private PromptChunk Close(List<(int Id, double Weight)> tokens)
    {
        int[] ids = [tokenizer.StartOfText, .. tokens.Select(t => t.Id), tokenizer.EndOfText, .. Enumerable.Repeat(padding, room - tokens.Count)];
        return new PromptChunk(ids, [1, .. tokens.Select(t => t.Weight), 1, .. Enumerable.Repeat(1.0, room - tokens.Count)]);
    }
}
