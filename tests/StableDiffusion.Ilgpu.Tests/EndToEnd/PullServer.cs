using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace StableDiffusion.Ilgpu.Tests.EndToEnd;

/// <summary>A request that <see cref="PullServer"/> got, and how much it sent for it.</summary>
internal sealed class PullRequest(string method, string path, string? authorization, (long From, long To)? range, string? authority)
{
    /// <summary>The server that is meant, where this one is asked as a proxy.</summary>
    public string? Authority => authority;

    public string Method => method;

    public string Path => path;

    public string? Authorization => authorization;

    public (long From, long To)? Range => range;

    public bool IsFetch => method == "GET" && !path.StartsWith("/api/", StringComparison.Ordinal);

    /// <summary>Bytes of the body that went out.</summary>
    public long Sent { get; set; }
}

/// <summary>What <see cref="PullServer"/> sends; a test changes it to misbehave.</summary>
internal sealed record PullReply(int Status, byte[] Body)
{
    public Dictionary<string, string> Headers { get; init; } = [];

    /// <summary>The length that the header claims; the body's own where it is null.</summary>
    public long? ClaimedLength { get; init; }

    /// <summary>The connection is cut after so many bytes of the body.</summary>
    public long? CutAfter { get; init; }

    /// <summary>Waits before each 64 KiB of the body.</summary>
    public TimeSpan Pause { get; init; }
}

/// <summary>
/// A model hub on this machine's loopback, as far as the program uses one: model info, <c>resolve</c>, ranges. It speaks HTTP itself, so
/// that it can lie and drop connections.
/// </summary>
internal sealed partial class PullServer : IDisposable
{
    public const string Commit = "0123456789abcdef0123456789abcdef01234567";
    private const int SliceBytes = 64 << 10;
    private const byte TlsHandshake = 0x16;
    private readonly TcpListener listener = new(IPAddress.Loopback, 0);
    private readonly ConcurrentQueue<PullRequest> requests = new();
    private int open;
    private int mostOpen;

    public PullServer(string repository, params (string Path, byte[] Content)[] files)
    {
        Repository = repository;
        Files = files.ToDictionary(f => f.Path, f => f.Content);
        listener.Start();
        _ = Task.Run(AcceptAsync);
    }

    public string Repository { get; }

    public Dictionary<string, byte[]> Files { get; }

    public string Address => $"http://127.0.0.1:{((IPEndPoint)listener.LocalEndpoint).Port}";

    public IReadOnlyList<PullRequest> Requests => [.. requests];

    /// <summary>Most fetches that were under way at once.</summary>
    public int MostOpen => mostOpen;

    /// <summary>Bytes of files that went out.</summary>
    public long SentBytes => requests.Where(r => r.IsFetch).Sum(r => r.Sent);

    /// <summary>Changes a reply before it is sent.</summary>
    public Func<PullRequest, PullReply, PullReply> Misbehave { get; set; } = (_, reply) => reply;

    /// <summary>Called after each 64 KiB of a file that went out.</summary>
    public Action AfterSlice { get; set; } = () => { };

    /// <summary>The size that the model info lists for a file.</summary>
    public Func<string, long, long?> ListedSize { get; set; } = (_, size) => size;

    /// <summary>The SHA-256 that the model info lists; null lists the file without any hash.</summary>
    public Func<string, string, string?> ListedHash { get; set; } = (_, hash) => hash;

    /// <summary>Whether the files are given without a tag too.</summary>
    public bool Untagged { get; set; }

    public static string Sha256(byte[] content) => Convert.ToHexStringLower(SHA256.HashData(content));

    public void Dispose() => listener.Dispose();

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var client = await listener.AcceptTcpClientAsync();
                _ = Task.Run(() => ServeAsync(client));
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException or InvalidOperationException)
        {
            // The test is over.
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        using (client)
        {
            try
            {
                var stream = client.GetStream();
                if (await ReadRequestAsync(stream) is { } request)
                {
                    requests.Enqueue(request);
                    await SendAsync(stream, request, Misbehave(request, ReplyTo(request)));
                }
            }
            catch (IOException)
            {
                // The program went away.
            }
        }
    }

    private static async Task<PullRequest?> ReadRequestAsync(NetworkStream stream)
    {
        var text = new StringBuilder();
        var one = new byte[1];
        while (!text.ToString().EndsWith("\r\n\r\n", StringComparison.Ordinal))
        {
            if (await stream.ReadAsync(one) == 0)
            {
                return null;
            }

            if (text.Length == 0 && one[0] == TlsHandshake)
            {
                await stream.WriteAsync("HTTP/1.1 400 X\r\n\r\n"u8.ToArray());
                return null;
            }

            text.Append((char)one[0]);
        }

        var lines = text.ToString().Split("\r\n");
        var words = lines[0].Split(' ');
        string? Header(string name) => lines
            .FirstOrDefault(l => l.StartsWith(name + ":", StringComparison.OrdinalIgnoreCase))?[(name.Length + 1)..].Trim();
        var range = RangePattern().Match(Header("Range") ?? "");

        // A proxy is told the whole address, or, for a tunnel, server and port.
        var proxied = words[1].StartsWith("http://", StringComparison.Ordinal) ? new Uri(words[1]) : null;
        return new PullRequest(
            words[0], Uri.UnescapeDataString((proxied?.PathAndQuery ?? words[1]).Split('?')[0]), Header("Authorization"),
            range.Success ? (long.Parse(range.Groups[1].Value), long.Parse(range.Groups[2].Value)) : null,
            proxied?.Authority ?? (words[0] == "CONNECT" ? words[1] : null));
    }

    private PullReply ReplyTo(PullRequest request)
    {
        if (request.Path.StartsWith($"/api/models/{Repository}/revision/", StringComparison.Ordinal))
        {
            var siblings = Files.Select(f => Listed(f.Key, f.Value));
            return new PullReply(200, JsonSerializer.SerializeToUtf8Bytes(new { sha = Commit, siblings }));
        }

        var prefix = $"/{Repository}/resolve/{Commit}/";
        if (!request.Path.StartsWith(prefix, StringComparison.Ordinal)
            || !Files.TryGetValue(request.Path[prefix.Length..], out var content))
        {
            return new PullReply(404, []);
        }

        var reply = request.Range is var (from, to)
            ? new PullReply(206, content[(int)from..((int)to + 1)])
            {
                Headers = { ["Content-Range"] = $"bytes {from}-{to}/{content.Length}" },
            }
            : new PullReply(200, content);
        if (!Untagged)
        {
            reply.Headers["ETag"] = $"\"{(IsLarge(request.Path) ? Sha256(content) : GitId(content))}\"";
        }

        return reply;
    }

    private object Listed(string path, byte[] content)
    {
        var size = ListedSize(path, content.Length);
        var hash = ListedHash(path, Sha256(content));
        return hash is null ? new { rfilename = path, size }
            : IsLarge(path) ? new { rfilename = path, size, blobId = GitId(content), lfs = new { sha256 = hash, size, pointerSize = 135 } }
            : new { rfilename = path, size, blobId = GitId(content) };
    }

    private static bool IsLarge(string path) =>
        path.EndsWith(".safetensors", StringComparison.Ordinal) || path.EndsWith(".bin", StringComparison.Ordinal);

#pragma warning disable CA5350 // git's ids are SHA-1
    private static string GitId(byte[] content) =>
        Convert.ToHexStringLower(SHA1.HashData([.. Encoding.ASCII.GetBytes($"blob {content.Length}\0"), .. content]));
#pragma warning restore CA5350

    private async Task SendAsync(NetworkStream stream, PullRequest request, PullReply reply)
    {
        var head = new StringBuilder(
            $"HTTP/1.1 {reply.Status} X\r\nConnection: close\r\nContent-Length: {reply.ClaimedLength ?? reply.Body.Length}\r\n");
        foreach (var (name, value) in reply.Headers)
        {
            head.Append($"{name}: {value}\r\n");
        }

        await stream.WriteAsync(Encoding.ASCII.GetBytes(head.Append("\r\n").ToString()));
        if (request.Method == "HEAD")
        {
            return;
        }

        InterlockedMax(ref mostOpen, Interlocked.Increment(ref open));
        try
        {
            var length = (int)Math.Min(reply.CutAfter ?? long.MaxValue, reply.Body.Length);
            for (var sent = 0; sent < length; sent += SliceBytes)
            {
                await Task.Delay(reply.Pause);
                var slice = reply.Body.AsMemory(sent, Math.Min(SliceBytes, length - sent));
                await stream.WriteAsync(slice);
                request.Sent += slice.Length;
                AfterSlice();
            }
        }
        finally
        {
            Interlocked.Decrement(ref open);
        }
    }

    private static void InterlockedMax(ref int target, int value)
    {
        for (var old = target; old < value; old = target)
        {
            Interlocked.CompareExchange(ref target, value, old);
        }
    }

    [GeneratedRegex(@"^bytes=(\d+)-(\d+)$")]
    private static partial Regex RangePattern();
}
