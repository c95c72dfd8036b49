using System.Text.Json;

namespace StableDiffusion.Ilgpu.Cli.Downloads;

/// <summary>
/// How much of a file is in its <c>.part</c>: bytes from the start of each piece. Kept beside it as <c>.part.json</c>, written after the
/// bytes that it speaks of.
/// </summary>
internal sealed class ResumeState
{
    private readonly Lock gate = new();

    /// <summary>The content's entity tag or digest: other content begins anew.</summary>
    public string? Tag { get; set; }

    public long Size { get; set; }

    public long PieceBytes { get; set; }

    public long[] Done { get; set; } = [];

    public int Pieces => Done.Length;

    public long DoneBytes => Done.Sum();

    public static ResumeState Create(long size, string? tag, long pieceBytes) => new()
    {
        Tag = tag,
        Size = size,
        PieceBytes = pieceBytes,
        Done = new long[(size + pieceBytes - 1) / pieceBytes],
    };

    /// <summary>The state of an earlier run, or null where there is none for this very content.</summary>
    public static ResumeState? Read(string path, long size, string? tag)
    {
        try
        {
            var state = JsonSerializer.Deserialize<ResumeState>(File.ReadAllBytes(path));
            return state is not null && tag is not null && state.Tag == tag && state.Size == size && state.PieceBytes > 0
                && state.Pieces == (size + state.PieceBytes - 1) / state.PieceBytes
                && Enumerable.Range(0, state.Pieces).All(i => state.Done[i] >= 0 && state.Done[i] <= state.LengthOf(i))
                ? state : null;
        }
        catch (Exception e) when (e is IOException or JsonException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    public long StartOf(int piece) => piece * PieceBytes;

    public long LengthOf(int piece) => Math.Min(PieceBytes, Size - StartOf(piece));

    public bool IsWhole(int piece) => Done[piece] == LengthOf(piece);

    public void Clear() => Array.Clear(Done);

    public void Write(string path)
    {
        lock (gate)
        {
            CacheRecord.WriteWhole(path, JsonSerializer.SerializeToUtf8Bytes(this));
        }
    }
}
