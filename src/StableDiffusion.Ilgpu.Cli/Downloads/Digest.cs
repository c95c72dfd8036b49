using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Serialization;

namespace StableDiffusion.Ilgpu.Cli.Downloads;

[JsonConverter(typeof(JsonStringEnumConverter<DigestKind>))]
internal enum DigestKind
{
    /// <summary>SHA-256 of the content.</summary>
    Sha256,

    /// <summary>Git's id of the content: SHA-1 of <c>blob SIZE\0</c> and the content.</summary>
    GitBlob,
}

/// <summary>What a file must hash to, and who says so.</summary>
/// <param name="Kind">How it is computed.</param>
/// <param name="Value">Lower-case hexadecimal.</param>
/// <param name="Source">Who published it.</param>
internal sealed record Digest(DigestKind Kind, string Value, string Source)
{
    public const string FromHub = "the hub's reply";
    private const int BufferBytes = 1 << 20;

    /// <summary>The hash's name, as messages have it.</summary>
    [JsonIgnore]
    public string Name => Kind == DigestKind.Sha256 ? "SHA-256" : "git SHA-1";

    /// <summary>The digest, or null where the text is none.</summary>
    public static Digest? OrNull(DigestKind kind, string? text, string source)
    {
        var digits = kind == DigestKind.Sha256 ? SHA256.HashSizeInBytes * 2 : SHA1.HashSizeInBytes * 2;
        return text?.Length == digits && text.All(char.IsAsciiHexDigit) ? new Digest(kind, text.ToLowerInvariant(), source) : null;
    }

    public bool Agrees(Digest other) => Kind != other.Kind || Value == other.Value;

    /// <summary>Hashes a file; <paramref name="progress"/> gets the bytes read since its last call.</summary>
    public async Task<string> ComputeAsync(string path, Action<long> progress, CancellationToken cancellation)
    {
        using var file = File.OpenHandle(path, options: FileOptions.SequentialScan);
        using var hash = IncrementalHash.CreateHash(Kind == DigestKind.Sha256 ? HashAlgorithmName.SHA256 : HashAlgorithmName.SHA1);
        if (Kind == DigestKind.GitBlob)
        {
            hash.AppendData(Encoding.ASCII.GetBytes($"blob {RandomAccess.GetLength(file)}\0"));
        }

        var buffer = new byte[BufferBytes];
        for (var offset = 0L; ;)
        {
            var read = await RandomAccess.ReadAsync(file, buffer, offset, cancellation);
            if (read == 0)
            {
                return Convert.ToHexStringLower(hash.GetHashAndReset());
            }

            hash.AppendData(buffer.AsSpan(0, read));
            offset += read;
            progress(read);
        }
    }
}
